#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/mutex.h"
#include "core/engine/engine_options.h"
#include "core/engine/queue_forecast.h"
#include "core/request/request.h"
#include "core/request/tenant_policy.h"

namespace quire {

// The engine's mailbox. Submits are bounded by count and by prompt tokens, in all and for each
// tenant, counting those that have left the inbox but still wait, preempted ones among them: so no
// more are live than may wait and run together. A cancel always gets in, as one request has one
// place for it, however often it is repeated, and so does a pause. Thread-safe; pushing never
// blocks on the engine.
class EngineInbox {
 public:
  // Gets what does not agree, or why it was not looked.
  using CheckDone = std::function<void(absl::StatusOr<std::vector<std::string>>)>;
  struct Messages {
    std::optional<TenantTable> tenants;
    std::vector<Request> submits;
    std::vector<RequestId> cancels;
    // Or resumed: the last word on each. Sorted, so that a seed of the simulation replays.
    absl::btree_map<RequestId, bool> pauses;
    std::vector<std::optional<TenantId>> flushes;  // of one tenant or of all
    std::vector<CheckDone> checks;
    bool abort_all = false;

    bool empty() const {
      return submits.empty() && cancels.empty() && pauses.empty() && flushes.empty() &&
             checks.empty() && !tenants.has_value() && !abort_all;
    }
  };
  // Requests that were refused, by reason.
  struct Rejections {
    uint64_t queue_full = 0;
    uint64_t tenant_queue_full = 0;
    uint64_t deadline = 0;
    uint64_t draining = 0;
    uint64_t too_long = 0;

    uint64_t Sum() const { return queue_full + tenant_queue_full + deadline + draining + too_long; }
  };

  // Begins with one tenant without limits.
  explicit EngineInbox(const EngineOptions& options);

  // Takes all of the requests, which are of one tenant, or none. The errors are refusals with these
  // reasons (see Refusal):
  //   DRAINING or DEVICE_FAILED  Unavailable: closed
  //   TOO_MANY_ANSWERS  InvalidArgument: more at once than the tenant may ever have waiting
  //   QUEUE_FULL, TENANT_QUEUE_FULL  ResourceExhausted: no room for them in the queue
  //   DEADLINE_UNREACHABLE  ResourceExhausted: as the tenant's queue moves, the answer would come
  //     too late; only for requests without priority, as others may pass
  // An accepted request is counted in `live` before the engine can see it; a refused one never is,
  // so callers that are refused again and again cannot keep a drain waiting.
  absl::Status Submit(std::vector<Request> requests, std::atomic<int64_t>* live = nullptr);
  void Cancel(RequestId id);
  void SetPaused(RequestId id, bool paused);
  void AbortAll();
  // InvalidArgument where a tenant would lose its place.
  absl::Status SetTenants(TenantTable tenants);
  // InvalidArgument for a tenant that does not exist.
  absl::Status FlushPrefixes(std::optional<TenantId> tenant);
  // `done` is called once, at once where nobody takes messages any more.
  void CheckInvariants(CheckDone done);
  // The most KV that a request of the tenant may need, of `kv_bytes` in all: its limit, and what
  // the floors of prefix caches leave, its own as well. InvalidArgument for a tenant that does not
  // exist.
  absl::StatusOr<int64_t> KvLimit(TenantId tenant, int64_t kv_bytes) const;
  // No submit gets in from now on; callers are told why.
  void Close(absl::string_view message, absl::string_view reason);
  bool closed() const;
  void CountTooLong(TenantId tenant, uint64_t requests);

  // Takes everything, in order of arrival. Engine thread.
  Messages Take(TimePoint now);
  // A request runs, or ended while it waited: it no longer counts as queued. Engine thread.
  void OnLeftQueue(const Request& request, bool started);
  // A request that ran was preempted: it waits again, whether there is room or not. Engine thread.
  void OnPreempted(const Request& request);
  // A request that waits has been set aside, or brought back: it counts as queued, but how fast the
  // queue moves does not tell when it starts. Engine thread.
  void OnSetAside(const Request& request, bool aside);
  // Requests that were taken and wait. Engine thread.
  int64_t NumTaken() const;
  // Sleeps until there is a message, Wake() was called, or for `at_most`. Engine thread.
  void Wait(Duration at_most);
  void Wake();
  // Nobody takes messages any more: checks that wait, and those to come, are answered so. Engine
  // thread.
  void End();
  Rejections rejections() const;
  std::vector<uint64_t> RejectedByTenant() const;

 private:
  struct Queued {
    int64_t requests = 0;
    int64_t tokens = 0;
    int64_t aside_requests = 0;  // of those
    int64_t aside_tokens = 0;
    QueueForecast forecast;

    // To be called before who waits changes, and before the forecast is asked.
    void Advance(TimePoint now) { forecast.Advance(now, requests > aside_requests); }
    void Add(int64_t more_requests, int64_t more_tokens) {
      requests += more_requests;
      tokens += more_tokens;
    }
    int64_t MovingTokens() const { return tokens - aside_tokens; }
    Duration RetryAfter() const { return forecast.RetryAfter(MovingTokens()); }
  };
  struct Account {
    TenantPolicy policy;
    Queued queued;
    Rejections rejections;
  };

  absl::Status CheckExists(TenantId tenant) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckRoom(const Request& request, const Queued& more, Account* account)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const EngineOptions options_;
  mutable Mutex mu_;
  Messages messages_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<RequestId> cancelled_ ABSL_GUARDED_BY(mu_);  // those in messages_.cancels
  absl::Status closed_ ABSL_GUARDED_BY(mu_);                       // what callers are told
  std::vector<Account> accounts_ ABSL_GUARDED_BY(mu_);             // by TenantId
  int64_t floor_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  Queued queued_ ABSL_GUARDED_BY(mu_);
  TimePoint now_ ABSL_GUARDED_BY(mu_){};  // of the newest Take()
  bool wake_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace quire
