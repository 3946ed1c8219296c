#pragma once

#include <array>
#include <cstdint>
#include <numeric>
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
struct Histogram {
  std::array<uint64_t, kEdges + 1> counts{};
  double sum = 0;

  void Observe(std::span<const double, kEdges> edges, double value) {
    size_t i = 0;
    while (i < kEdges && value > edges[i]) ++i;
    ++counts[i];
    sum += value;
  }
  Histogram& operator+=(const Histogram& other) {
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
    sum += other.sum;
    return *this;
  }
  uint64_t Count() const { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); }
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
inline constexpr std::array<double, 9> kSchedulerDurationEdges = {
    .00001, .00005, .0001, .00025, .0005, .001, .0025, .005, .01};
inline constexpr std::array<double, 7> kTenantFirstTokenEdges = {.1, .25, .5, 1, 2.5, 5, 10};
// Of sizes: tokens or sequences of a step, tokens of a request, preemptions of one.
inline constexpr std::array<double, 12> kStepSizeEdges = {1,   8,   16,   32,   64,   128,
                                                          256, 512, 1024, 2048, 4096, 8192};
inline constexpr std::array<double, 16> kRequestTokensEdges = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
inline constexpr std::array<double, 6> kPreemptionsEdges = {0, 1, 2, 3, 5, 10};

// What a step computes: prompt chunks alone, one token for each running request alone, or both.
enum class StepKind : uint8_t { kPrefill, kDecode, kMixed };
inline constexpr size_t kNumStepKinds = 3;

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
  WaitCounts waits;    // sum: waiting

  uint64_t prompt_tokens = 0;     // computed in prefill, after a preemption once more
  uint64_t generated_tokens = 0;  // tokens delivered
  uint64_t discarded_tokens = 0;  // sampled after the request had ended or was preempted
  double schedule_seconds = 0;    // engine time outside the runner, delivery included
  double forward_seconds = 0;     // engine time inside the runner
  TimePoint last_step{};          // when the last step completed; the clock's epoch: none yet

  Histogram<kTimeToFirstTokenEdges.size()> time_to_first_token;
  Histogram<kTimeToFirstTokenEdges.size()> queue_time;
  Histogram<kTimeToFirstTokenEdges.size()> prefill_time;  // from the first step to the first token
  Histogram<kTimeToFirstTokenEdges.size()> decode_time;   // from the first token to the last
  Histogram<kInterTokenEdges.size()> inter_token;
  Histogram<kInterTokenEdges.size()> time_per_output_token;  // a request's mean
  Histogram<kRequestDurationEdges.size()> request_duration;
  Histogram<kRequestTokensEdges.size()> request_prompt_tokens;
  Histogram<kRequestTokensEdges.size()> request_generated_tokens;
  Histogram<kPreemptionsEdges.size()> request_preemptions;
  std::array<Histogram<kStepDurationEdges.size()>, kNumStepKinds> step_duration;
  Histogram<kStepSizeEdges.size()> step_tokens;
  Histogram<kStepSizeEdges.size()> step_sequences;
  Histogram<kSchedulerDurationEdges.size()> schedule_time;  // of a step, outside the runner

  KvSnapshot kv;
  RunnerMemory memory;

  uint64_t Steps(StepKind kind) const { return step_duration[static_cast<size_t>(kind)].Count(); }
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
  Histogram<kTenantFirstTokenEdges.size()> time_to_first_token = {};
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
