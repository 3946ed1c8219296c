#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/mutex.h"
#include "core/kv/kv_snapshot.h"
#include "core/model/model_runner.h"
#include "core/request/request_status.h"
#include "core/sched/tenant_load.h"

namespace quire {

// A histogram with fixed bucket edges, kept as plain counters. `counts` are per bucket, not
// cumulative; the last one is beyond the last edge.
template <size_t kEdges>
struct LatencyHistogram {
  std::array<uint64_t, kEdges + 1> counts{};
  double sum = 0;

  void Observe(std::span<const double, kEdges> edges, double value) {
    size_t i = 0;
    while (i < kEdges && value > edges[i]) ++i;
    ++counts[i];
    sum += value;
  }
};

// Upper bucket edges in seconds.
inline constexpr std::array<double, 20> kTimeToFirstTokenEdges = {
    .001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160};
inline constexpr std::array<double, 20> kInterTokenEdges = {
    .001, .0025, .005, .0075, .01, .015, .02, .025, .03, .05,
    .075, .1,    .15,  .2,    .3,  .4,   .5,  .75,  1,   2.5};
inline constexpr std::array<double, 16> kRequestDurationEdges = {
    .01,  .02,  .04,   .08,   .16,   .32,   .64,    1.28,
    2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68};
inline constexpr std::array<double, 16> kStepDurationEdges = {
    .0005, .001, .002, .004, .006, .008, .01, .015, .02, .03, .05, .075, .1, .2, .5, 1};

// Everything the engine counts. Plain values, copied whole; counters only grow.
struct EngineStats {
  // Requests. Always: accepted == waiting + running + sum(finished).
  uint64_t accepted = 0;
  uint64_t rejected_queue_full = 0;
  uint64_t rejected_tenant_queue_full = 0;
  uint64_t rejected_deadline = 0;  // one that could not be met
  uint64_t rejected_draining = 0;
  uint64_t rejected_too_long = 0;
  std::array<uint64_t, kNumFinishReasons> finished{};
  int64_t waiting = 0;
  int64_t running = 0;
  int64_t waiting_tokens = 0;
  int64_t paused = 0;  // of both

  uint64_t prompt_tokens = 0;     // computed in prefill, after a preemption once more
  uint64_t generated_tokens = 0;  // tokens delivered
  uint64_t discarded_tokens = 0;  // sampled after the request had ended or was preempted
  uint64_t prefill_steps = 0;     // steps without a decode row
  uint64_t decode_steps = 0;      // steps with decode rows alone
  uint64_t mixed_steps = 0;
  double schedule_seconds = 0;  // engine time outside the runner, delivery included
  double forward_seconds = 0;   // engine time inside the runner
  TimePoint last_step{};        // when the last step completed; the clock's epoch: none yet

  LatencyHistogram<kTimeToFirstTokenEdges.size()> time_to_first_token;
  LatencyHistogram<kTimeToFirstTokenEdges.size()> queue_time;
  LatencyHistogram<kInterTokenEdges.size()> inter_token;
  LatencyHistogram<kRequestDurationEdges.size()> request_duration;
  LatencyHistogram<kStepDurationEdges.size()> step_duration;

  KvSnapshot kv;
  RunnerMemory memory;
};

// What the engine counts for one tenant.
struct TenantStats {
  std::string name;
  uint64_t accepted = 0;
  uint64_t rejected = 0;
  std::array<uint64_t, kNumFinishReasons> finished{};
  uint64_t started = 0;
  double queue_seconds = 0;       // of those that started
  uint64_t prompt_tokens = 0;     // likewise
  uint64_t cached_tokens = 0;     // of those, found and not computed
  uint64_t generated_tokens = 0;  // delivered
  TenantLoad load;
};

// Whether the engine gets anywhere: what a watchdog looks at.
struct EngineProgress {
  int64_t live_requests = 0;  // accepted, not yet ended and not paused
  uint64_t steps = 0;         // completed
  // While there is no step to run, as every live request waits for its tenant's token rate: until
  // when. Else in the past.
  TimePoint rests_until{};
};

// Hands the engine's counters to the scrape thread. Both sides hold the lock for one copy and
// nothing else, of a few kilobytes and a few hundred bytes a tenant, so a scrape never makes a step
// wait for work of its own.
class EngineStatsBoard {
 public:
  void Publish(const EngineStats& stats) {
    MutexLock lock(&mu_);
    stats_ = stats;
  }
  EngineStats Read() const {
    MutexLock lock(&mu_);
    return stats_;
  }
  // By TenantId; only those that changed.
  void Publish(const std::vector<TenantStats>& tenants, std::span<const TenantId> changed) {
    MutexLock lock(&mu_);
    tenants_.resize(tenants.size());
    for (const TenantId id : changed) tenants_[id.value()] = tenants[id.value()];
  }
  std::vector<TenantStats> ReadTenants() const {
    MutexLock lock(&mu_);
    return tenants_;
  }

 private:
  mutable Mutex mu_;
  EngineStats stats_ ABSL_GUARDED_BY(mu_);
  std::vector<TenantStats> tenants_ ABSL_GUARDED_BY(mu_);
};

}  // namespace quire
