#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include "core/base/clock.h"

namespace quire::server {

// So many lines a second, and a count of those left out. Pure; one thread.
class LineBudget {
 public:
  explicit LineBudget(int32_t lines_per_second) : lines_per_second_(lines_per_second) {}

  // Whether there is room for a line; what there is no room for is left out.
  bool Take(TimePoint now) {
    if (now - second_ >= std::chrono::seconds(1)) {
      second_ = now;
      taken_ = 0;
    }
    if (taken_ == lines_per_second_) {
      LeaveOut(1);
      return false;
    }
    ++taken_;
    return true;
  }
  void LeaveOut(int64_t lines) { left_out_ += lines; }
  // Lines that were left out since it was asked last.
  int64_t TakeLeftOut() { return std::exchange(left_out_, 0); }

 private:
  const int32_t lines_per_second_;
  TimePoint second_{};  // when it began
  int32_t taken_ = 0;   // in it
  int64_t left_out_ = 0;
};

}  // namespace quire::server
