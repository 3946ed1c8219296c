#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/mutex.h"
#include "core/engine/engine_options.h"
#include "core/request/request.h"
#include "core/request/tenant_policy.h"

namespace quire {

// The way into the engine thread. Requests are bounded by count and by prompt tokens, counting
// those that have left the inbox but still wait for their first step; a cancel always gets in, as
// one request has one place for it, however often it is repeated. Thread-safe; pushing never blocks
// on the engine.
class EngineInbox {
 public:
  struct Messages {
    std::vector<Request> submits;
    std::vector<RequestId> cancels;
    std::optional<TenantTable> tenants;
    bool abort_all = false;

    bool empty() const {
      return submits.empty() && cancels.empty() && !tenants.has_value() && !abort_all;
    }
  };
  struct Rejections {
    uint64_t queue_full = 0;
    uint64_t draining = 0;
    uint64_t too_long = 0;
  };

  explicit EngineInbox(const EngineOptions& options) : options_(options) {}

  // Takes all of the requests or none: ResourceExhausted when there is no room for them in the
  // queue, Unavailable once closed. An accepted request is counted in `live` before the engine can
  // see it; a refused one never is, so callers that are refused again and again cannot keep a
  // drain waiting.
  absl::Status Submit(std::vector<Request> requests, std::atomic<int64_t>* live = nullptr);
  void Cancel(RequestId id);
  void AbortAll();
  void SetTenants(TenantTable tenants);
  // No submit gets in from now on; `reason` is what callers are told.
  void Close(absl::string_view reason);
  void CountTooLong();

  // Takes everything, in order of arrival. Engine thread.
  Messages Take();
  // A request has started or ended: it no longer counts as queued. Engine thread.
  void OnLeftQueue(int64_t prompt_tokens);
  // Sleeps until there is a message, or Wake() was called. Engine thread.
  void Wait();
  void Wake();
  Rejections rejections() const;

 private:
  const EngineOptions options_;
  mutable Mutex mu_;
  Messages messages_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<RequestId> cancelled_ ABSL_GUARDED_BY(mu_);  // those in messages_.cancels
  std::string closed_reason_ ABSL_GUARDED_BY(mu_);
  Rejections rejections_ ABSL_GUARDED_BY(mu_);
  int64_t queued_requests_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t queued_tokens_ ABSL_GUARDED_BY(mu_) = 0;
  bool wake_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace quire
