#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/kv/kv_cache_manager.h"
#include "core/sched/scheduler.h"
#include "tests/model_check/scheduler_scenario.h"

namespace quire::testing {

// A request of the scenario as it was submitted last.
struct SubmittedRequest {
  Sequence* sequence = nullptr;  // null: it is not live
  uint64_t number = 0;           // in order of submission
  int32_t submits_left = 0;
  int32_t most_launched = 0;
};

// What matters about who runs and who waits at one moment, counted anew from sequences and block
// tables, in blocks.
struct SchedulerFacts {
  struct Request {
    bool running = false, ready = false;  // neither: it is parked or not live
    bool loan = false;
    int32_t preemptions = 0;
    int64_t promised = 0;  // blocks
    int64_t needs = 0;     // blocks to start
    bool lacks = false;    // it runs and has no KV for a token that it could compute
  };
  struct Tenant {
    int64_t used = 0;
    int64_t running = 0;
    uint64_t loans = 0;  // ever
    bool eligible = false;
    FairShare::Turn turn;
    std::optional<size_t> head;  // the request that is to start next
    bool may_start = false;      // it waits for nothing but its turn
    bool covered = false;        // by the reserve
    // Of its rate, what runs counting in full, and without what started last.
    bool ahead = false, ahead_before = false;
  };

  static SchedulerFacts Of(const SchedulerScenario& scenario,
                           const std::vector<SubmittedRequest>& submitted,
                           const Scheduler& scheduler, const KvCacheManager& kv, TimePoint now);

  bool Preempted(size_t r, const SchedulerFacts& before) const {
    return requests[r].preemptions > before.requests[r].preemptions;
  }
  bool Started(size_t r, const SchedulerFacts& before) const {
    return requests[r].running && (!before.requests[r].running || Preempted(r, before));
  }

  std::vector<Request> requests;
  std::vector<size_t> running;  // requests, in order of admission
  std::vector<Tenant> tenants;
  int64_t unpromised = 0;  // blocks, neither promised nor fenced
  int64_t free = 0;        // of those, the ones that no floor protects
  int64_t floors = 0;
  int64_t fenced = 0;
  int64_t parked = 0;
};

}  // namespace quire::testing
