#pragma once

#include <cstdint>

#include "core/base/clock.h"

namespace quire {

// What a token of prefill has cost lately: of steps that held large chunks, as a recomputation
// does, their time by their tokens. Decode rows beside them count as tokens, which they cost more
// than.
class PrefillCost {
 public:
  void OnStep(Duration duration, int32_t tokens) {
    seconds_ = seconds_ * kKept + ToSeconds(duration);
    tokens_ = tokens_ * kKept + tokens;
  }
  // 0 before the first step.
  double SecondsPerToken() const { return tokens_ > 0 ? seconds_ / tokens_ : 0; }

 private:
  static constexpr double kKept = 0.95;  // after each step

  double seconds_ = 0;
  double tokens_ = 0;
};

}  // namespace quire
