#pragma once

#include <algorithm>

#include "core/base/clock.h"

namespace quire::cli {

// A replica's time, which goes on only as it is told. One thread.
class VirtualClock final : public Clock {
 public:
  explicit VirtualClock(TimePoint now) : now_(now) {}
  TimePoint Now() const override { return now_; }
  // Never back.
  void AdvanceTo(TimePoint now) { now_ = std::max(now_, now); }

 private:
  TimePoint now_;
};

}  // namespace quire::cli
