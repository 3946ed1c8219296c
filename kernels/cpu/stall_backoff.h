#pragma once

#include <algorithm>
#include <chrono>

namespace quire::kernels {

// How a worker shares its core with another process that wants all of it. The system's scheduler
// would take the core away in the midst of an item, for which everybody then waits. So the worker
// takes breaks of its own between items, one after each kRun. They double with each stall, until it
// asks for no more than its share and is left alone, and shrink by and by.
class StallBackoff {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = TimePoint::duration;

  // Ready to run for so long without running, in the midst of an item: what is shorter costs less
  // than breaks do.
  static constexpr Duration kStall = std::chrono::microseconds(500);
  // A stall that comes later than this after the one before is somebody passing by.
  static constexpr Duration kAgain = std::chrono::milliseconds(50);
  // Less than a time slice, which on Linux is 0.7 ms to 4 ms.
  static constexpr Duration kRun = std::chrono::microseconds(500);
  static constexpr Duration kFirstBreak = std::chrono::milliseconds(1);
  static constexpr Duration kLongestBreak = std::chrono::milliseconds(16);
  static constexpr Duration kShortestBreak = std::chrono::microseconds(500);  // then none

  bool active() const { return break_ != Duration::zero(); }

  void Stalled(TimePoint now) {
    const bool again = stalled_before_ && now - last_stall_ <= kAgain;
    if (active() || again) break_ = std::clamp(2 * break_, kFirstBreak, kLongestBreak);
    stalled_before_ = true;
    last_stall_ = now;
  }

  // How long the break is to be. Active before.
  Duration NextBreak() {
    const Duration next = break_;
    break_ = break_ * 99 / 100;
    if (break_ < kShortestBreak) break_ = Duration::zero();
    return next;
  }

 private:
  Duration break_{0};
  bool stalled_before_ = false;
  TimePoint last_stall_;
};

}  // namespace quire::kernels
