#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "core/base/clock.h"
#include "server/live_streams.h"
#include "server/periodic_task.h"

namespace quire::server {

// Ends the calls of clients that have stopped reading: those whose write stays in flight for
// `timeout`, and up to a quarter of that or a second more. A look takes two locks a stream.
class StallWatch {
 public:
  // A `timeout` of zero: nobody is ended. Counts into `stalled`. The pointers must outlive it.
  StallWatch(LiveStreams* streams, const Clock* clock, Duration timeout,
             std::atomic<uint64_t>* stalled);

 private:
  std::optional<PeriodicTask> looks_;
};

}  // namespace quire::server
