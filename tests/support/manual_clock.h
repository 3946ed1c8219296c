#pragma once

#include "core/base/clock.h"

namespace quire::testing {

// Time that moves only when a test says so.
class ManualClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(Duration d) { now_ += d; }

 private:
  TimePoint now_ = TimePoint(std::chrono::hours(1));
};

}  // namespace quire::testing
