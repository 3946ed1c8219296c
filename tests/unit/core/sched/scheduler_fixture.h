#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/kv/kv_cache_manager.h"
#include "core/sched/scheduler.h"
#include "gtest/gtest.h"

namespace quire {

inline constexpr TimePoint kStart = TimePoint(std::chrono::seconds(1));

// A scheduler over `blocks` KV blocks of 16 tokens, driven as the engine drives it.
class SchedulerFixture {
 public:
  SchedulerFixture(const SchedulerOptions& options, int32_t blocks)
      : arena_(static_cast<size_t>(blocks) * 256, 256),
        kv_({Layout()}, &arena_, options.max_step_tokens),
        scheduler_(options, &kv_) {}

  SequenceId Enqueue(int32_t prompt_tokens, int32_t max_tokens, int32_t prompt_logprobs = -1) {
    Request request;
    request.tenant = tenant_;
    for (int32_t i = 0; i < prompt_tokens; ++i) request.prompt.push_back(next_token_++);
    request.sampling.max_tokens = max_tokens;
    request.sampling.prompt_logprobs = prompt_logprobs;
    return Enqueue(std::move(request));
  }
  SequenceId Enqueue(Request request) {
    request.id = RequestId(++last_request_);
    const SequenceId id = scheduler_.NextSequenceId();
    scheduler_.Enqueue(std::make_unique<Sequence>(id, std::move(request)));
    return id;
  }
  // Whose the following sequences are.
  void Be(uint32_t tenant) { tenant_ = TenantId(tenant); }

  std::vector<SequenceId> Admit(TimePoint now = kStart) {
    std::vector<SequenceId> ids;
    for (const Sequence* sequence : scheduler_.Admit(now, StepId(next_step_)))
      ids.push_back(sequence->id());
    return ids;
  }

  // Plans the next step, reserves and launches it.
  StepPlan Launch() {
    StepPlan plan = scheduler_.PlanStep(StepId(++next_step_));
    std::vector<KvNeed> needs;
    for (const SequenceStep& s : plan.sequences)
      needs.push_back({s.sequence, s.start + s.num_tokens});
    kv_.Reserve(needs).Commit();
    scheduler_.OnLaunched(plan);
    return plan;
  }

  // Commits `token` for every sequence that the plan samples.
  void Commit(const StepPlan& plan, TokenId token) {
    kv_.StepCompleted(plan.id);
    for (const SequenceStep& s : plan.sequences) {
      Sequence* const sequence = scheduler_.Find(s.sequence);
      if (sequence == nullptr) continue;
      const int32_t end = s.start + s.num_tokens;
      kv_.Pass(s.sequence, end);
      kv_.Publish(s.sequence, sequence->tokens().first(static_cast<size_t>(end)));
      if (s.prefill) scheduler_.OnPublished(s.sequence, end);
      if (s.sample) sequence->CommitToken(token, kStart);
    }
  }

  void Release(SequenceId id) { EXPECT_EQ(scheduler_.Release(id, StepId(next_step_))->id(), id); }

  Scheduler& scheduler() { return scheduler_; }
  KvCacheManager& kv() { return kv_; }

 private:
  static KvLayout Layout() {
    KvLayout layout;
    layout.block_tokens = 16;
    layout.layers = {{.kv_groups = 1, .head_dim = 4}};
    return layout;
  }

  SlabArena arena_;
  KvCacheManager kv_;
  Scheduler scheduler_;
  TenantId tenant_;
  uint64_t last_request_ = 0;
  uint64_t next_step_ = 0;
  TokenId next_token_ = 100;
};

}  // namespace quire
