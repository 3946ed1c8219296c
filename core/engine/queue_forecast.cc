#include "core/engine/queue_forecast.h"

#include <algorithm>
#include <cmath>

namespace quire {
namespace {

constexpr double kMemorySeconds = 10;
constexpr double kSeenEnoughSeconds = 0.5;
constexpr Duration kUnknownRetry = std::chrono::seconds(1);
constexpr Duration kShortestRetry = std::chrono::milliseconds(50);
constexpr Duration kLongestRetry = std::chrono::seconds(60);

}  // namespace

void QueueForecast::Advance(TimePoint now, bool waiting) {
  if (now <= now_) return;  // submits come from several threads
  const double left = std::exp(-ToSeconds(now - now_) / kMemorySeconds);
  seconds_ = seconds_ * left + (waiting ? kMemorySeconds * (1 - left) : 0);
  tokens_ *= left;
  now_ = now;
}

std::optional<Duration> QueueForecast::TimeFor(int64_t prompt_tokens) const {
  if (seconds_ < kSeenEnoughSeconds || tokens_ <= 0) return std::nullopt;
  const double seconds = static_cast<double>(prompt_tokens) * seconds_ / tokens_;
  return FromSeconds(std::min(seconds, 1e9));
}

Duration QueueForecast::RetryAfter(int64_t prompt_tokens) const {
  const std::optional<Duration> all = TimeFor(prompt_tokens);
  return all.has_value() ? std::clamp(*all / 2, kShortestRetry, kLongestRetry) : kUnknownRetry;
}

}  // namespace quire
