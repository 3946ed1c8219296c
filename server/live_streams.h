#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/mutex.h"
#include "server/output_stream.h"

namespace quire::server {

// The streams whose calls have not ended. Bounds their number, and with it the memory of all
// buffers behind slow readers; tells a drain when the last one is gone. Thread-safe.
//
// A tenant has at most three times as many as are free: alone it gets three quarters of all, and
// what the others leave is never one tenant's whole, however little its clients read.
class LiveStreams {
 public:
  explicit LiveStreams(size_t max_streams) : max_streams_(max_streams) {}

  // Refuses with ResourceExhausted when there are too many, or too many of the tenant.
  absl::Status Add(std::shared_ptr<OutputStream> stream, TenantId tenant);
  // Without effect for a stream that was not added.
  void Remove(const std::shared_ptr<OutputStream>& stream);

  size_t size() const;
  // Ends every call by force; they leave as their reactors see it.
  void AbortAll();
  // Ends the calls whose write has been in flight for `timeout`, as far as earlier calls of this
  // can tell, and returns how many.
  int AbortStalled(TimePoint now, Duration timeout);
  // Waits until there is none; false when `timeout` passed first.
  bool AwaitEmpty(Duration timeout);

 private:
  std::vector<std::shared_ptr<OutputStream>> Snapshot() const;

  const size_t max_streams_;
  mutable Mutex mu_;
  absl::flat_hash_map<std::shared_ptr<OutputStream>, TenantId> streams_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<TenantId, size_t> counts_ ABSL_GUARDED_BY(mu_);  // none is 0
};

}  // namespace quire::server
