#include "server/stall_watch.h"

#include <algorithm>

namespace quire::server {
namespace {

constexpr Duration kLongestPeriod = std::chrono::seconds(1);

}  // namespace

StallWatch::StallWatch(LiveStreams* streams, const Clock* clock, Duration timeout,
                       std::atomic<uint64_t>* stalled) {
  if (timeout == Duration::zero()) return;
  looks_.emplace(std::min(timeout / 4, kLongestPeriod), [=] {
    *stalled += static_cast<uint64_t>(streams->AbortStalled(clock->Now(), timeout));
  });
}

}  // namespace quire::server
