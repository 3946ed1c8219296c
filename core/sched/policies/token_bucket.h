#pragma once

#include <algorithm>

#include "core/base/clock.h"

namespace quire {

// Holds a tenant to a rate of tokens, which are taken when they have been computed: it may be ahead
// of the rate by `burst`, and beyond waits until the time has caught up. A rate of 0 is none.
class TokenBucket {
 public:
  // A new rate forgives what was taken beyond its burst.
  void SetRate(double tokens_per_second, double burst) {
    if (burst <= 0) burst = tokens_per_second;
    if (tokens_per_second == rate_ && burst == burst_) return;
    rate_ = tokens_per_second;
    burst_ = burst;
    ahead_ = std::min(ahead_, burst_);
  }
  void Take(double tokens, TimePoint now) {
    if (rate_ <= 0) return;
    CatchUp(now);
    ahead_ += tokens;
  }
  // From when on it may take more than the `expected` tokens that it is going to; `now` if it may
  // at once.
  TimePoint OpenAt(TimePoint now, double expected = 0) {
    if (rate_ <= 0) return now;
    CatchUp(now);
    const double beyond = ahead_ + expected - burst_;
    if (beyond < 0) return now;
    const double seconds = (beyond + kMargin) / rate_;
    return now + FromSeconds(std::min(seconds, kLongestWaitSeconds)) + Duration(1);
  }

 private:
  void CatchUp(TimePoint now) {
    ahead_ = std::max(0.0, ahead_ - ToSeconds(now - updated_) * rate_);
    updated_ = now;
  }

  static constexpr double kMargin = 1e-6;  // tokens, so that rounding finds it open when it said so
  static constexpr double kLongestWaitSeconds = 1e9;  // which is a Duration, and no deadline

  double rate_ = 0;
  double burst_ = 0;
  double ahead_ = 0;
  TimePoint updated_{};
};

}  // namespace quire
