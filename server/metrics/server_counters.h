#pragma once

#include <atomic>
#include <cstdint>

namespace quire::server {

// What the front end counts; the engine's own numbers are in EngineStats. Any thread.
struct ServerCounters {
  std::atomic<uint64_t> rejected_unauthenticated{0};  // refused by TenantDirectory
  std::atomic<uint64_t> rejected_invalid{0};          // refused by RequestCodec
  std::atomic<uint64_t> rejected_streams{0};          // refused by LiveStreams
  std::atomic<uint64_t> slow_readers{0};              // cut off by OutputStream
  std::atomic<uint64_t> self_probes_answered{0};      // by SelfProbe
  std::atomic<uint64_t> self_probes_failed{0};
  // What SelfWatch has seen last.
  std::atomic<bool> live{true};
  std::atomic<double> engine_stalled_seconds{0};
  std::atomic<uint64_t> stalled_readers{0};      // ended by StallWatch
  std::atomic<uint64_t> refused_connections{0};  // to --listen, by ConnectionAcceptor
  std::atomic<uint64_t> accept_failures{0};      // of that one
};

}  // namespace quire::server
