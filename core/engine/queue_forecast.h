#pragma once

#include <cstdint>
#include <optional>

#include "core/base/clock.h"

namespace quire {

// How long a queue takes, from how fast it has moved lately: prompt tokens of requests that
// started, per second in which anybody waited in it. What is older counts less and less.
class QueueForecast {
 public:
  // Time has passed; `waiting`: somebody waited all the while, else nobody.
  void Advance(TimePoint now, bool waiting);
  void OnStarted(int64_t prompt_tokens) { tokens_ += static_cast<double>(prompt_tokens); }

  // Until so many prompt tokens that wait have started; nullopt while too little has been seen.
  std::optional<Duration> TimeFor(int64_t prompt_tokens) const;
  // When to try again where so many wait and there is no room: half of them will have started.
  Duration RetryAfter(int64_t prompt_tokens) const;

 private:
  double tokens_ = 0;
  double seconds_ = 0;
  TimePoint now_{};
};

}  // namespace quire
