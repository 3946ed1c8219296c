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
};

}  // namespace quire::server
