#pragma once

#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/output_stream.h"

namespace quire::server {

// The streams whose calls have not ended. Bounds their number, and with it the memory of all
// buffers behind slow readers; tells a drain when the last one is gone. Thread-safe.
class LiveStreams {
 public:
  explicit LiveStreams(size_t max_streams) : max_streams_(max_streams) {}

  // Refuses with ResourceExhausted when there are too many.
  absl::Status Add(std::shared_ptr<OutputStream> stream);
  // Without effect for a stream that was not added.
  void Remove(const std::shared_ptr<OutputStream>& stream);

  size_t size() const;
  // Ends every call by force; they leave as their reactors see it.
  void AbortAll();
  // Waits until there is none; false when `timeout` passed first.
  bool AwaitEmpty(Duration timeout);

 private:
  const size_t max_streams_;
  mutable Mutex mu_;
  absl::flat_hash_set<std::shared_ptr<OutputStream>> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace quire::server
