#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/kv/kv_cache_manager.h"
#include "core/plan/step_plan.h"
#include "core/request/sequence.h"
#include "core/sched/policies/token_budget.h"
#include "core/sched/tenant_queue.h"

namespace quire {

struct SchedulerOptions {
  int32_t max_step_tokens = 0;  // at least max_running_sequences, so that decode always runs
  int32_t max_running_sequences = 0;
  int32_t max_scored_tokens = 1;  // prompt tokens in a step whose logprobs are wanted
};

// Decides who runs and what each step computes. Owns every live sequence: the waiting ones in
// their tenant's queue, the running ones in order of admission. Engine thread only.
//
// Admission is in reserve mode: a sequence starts only when the KV it can ever need is promised to
// it, so a running sequence is never preempted and planning never fails.
class Scheduler {
 public:
  // `kv` must outlive the scheduler.
  Scheduler(const SchedulerOptions& options, KvCacheManager* kv);

  void Enqueue(std::unique_ptr<Sequence> sequence) { waiting_.Push(std::move(sequence)); }

  // Starts waiting sequences, in order, while there is room; the first that does not fit waits for
  // running ones to end. Returns what it started.
  std::vector<Sequence*> Admit(TimePoint now);

  // Decode rows first, then prefill chunks. Empty when nothing can run. Changes nothing.
  StepPlan PlanStep(StepId id) const;

  // The plan has been launched: its sequences move on.
  void OnLaunched(const StepPlan& plan);

  // Forgets a sequence; it holds no KV here (see KvCacheManager::Free). Null when unknown.
  std::unique_ptr<Sequence> Release(SequenceId id);

  // Null when it is not live.
  Sequence* Find(SequenceId id) const;
  // Every live sequence, the running ones first.
  std::vector<Sequence*> Live() const;
  const std::vector<std::unique_ptr<Sequence>>& running() const { return running_; }
  const TenantQueue& waiting() const { return waiting_; }

 private:
  int32_t SharePrefix(const Sequence& sequence);
  std::vector<TokenDemand> Demands() const;
  static SequenceStep MakeStep(const Sequence& sequence, int32_t num_tokens);

  const SchedulerOptions options_;
  KvCacheManager* const kv_;
  TenantQueue waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;  // in order of admission
  absl::flat_hash_map<SequenceId, Sequence*> running_by_id_;
};

}  // namespace quire
