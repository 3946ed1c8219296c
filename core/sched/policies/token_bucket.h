#pragma once

#include <algorithm>

#include "core/base/clock.h"

namespace quire {

// Holds a tenant to a rate of tokens, which are taken when they have been computed: it may be ahead
// of the rate by `burst`, and beyond waits until the time has caught up. A rate of 0 is none.
class TokenBucket {
 public:
  void SetRate(double tokens_per_second, double burst) {
    rate_ = tokens_per_second;
    burst_ = burst > 0 ? burst : tokens_per_second;
    ahead_ = std::min(ahead_, burst_);
  }
  void Take(double tokens, TimePoint now) {
    if (rate_ <= 0) return;
    CatchUp(now);
    ahead_ += tokens;
  }
  // From when on it may take more; in the past if it may now.
  TimePoint OpenAt(TimePoint now) {
    if (rate_ <= 0) return now;
    CatchUp(now);
    return ahead_ < burst_ ? now : now + FromSeconds((ahead_ - burst_) / rate_) + Duration(1);
  }

 private:
  void CatchUp(TimePoint now) {
    ahead_ = std::max(0.0, ahead_ - ToSeconds(now - updated_) * rate_);
    updated_ = now;
  }

  double rate_ = 0;
  double burst_ = 0;
  double ahead_ = 0;
  TimePoint updated_{};
};

}  // namespace quire
