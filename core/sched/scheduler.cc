#include "core/sched/scheduler.h"

#include <algorithm>
#include <span>
#include <utility>

#include "core/base/check.h"

namespace quire {

Scheduler::Scheduler(const SchedulerOptions& options, KvCacheManager* kv)
    : options_(options), kv_(kv) {
  QUIRE_CHECK(options.max_running_sequences >= 1 &&
              options.max_step_tokens >= options.max_running_sequences &&
              options.max_scored_tokens >= 1);
}

std::vector<Sequence*> Scheduler::Admit(TimePoint now) {
  std::vector<Sequence*> started;
  KvBudget budget = kv_->Budget();
  while (const Sequence* head = waiting_.Front()) {
    if (static_cast<int32_t>(running_.size()) >= options_.max_running_sequences) break;
    if (!budget.TryTake(kv_->PromiseFor(head->max_kv_tokens()))) break;
    std::unique_ptr<Sequence> sequence = waiting_.Pop();
    kv_->Admit(sequence->id(), sequence->max_kv_tokens());
    sequence->Start(now, SharePrefix(*sequence));
    started.push_back(sequence.get());
    running_by_id_.emplace(sequence->id(), sequence.get());
    running_.push_back(std::move(sequence));
  }
  return started;
}

int32_t Scheduler::SharePrefix(const Sequence& sequence) {
  const Request& request = sequence.request();
  // What is found has no logits that could be reported.
  const bool scored = sequence.UnscoredTokens() > 0;
  return static_cast<int32_t>(kv_->SharePrefix(
      sequence.id(), scored ? std::span<const TokenId>() : std::span(request.prompt),
      request.cache_salt));
}

StepPlan Scheduler::PlanStep(StepId id) const {
  StepPlan plan;
  plan.id = id;
  const std::vector<TokenDemand> demands = Demands();
  const std::vector<int32_t> grants = SplitTokenBudget(
      demands, {.tokens = options_.max_step_tokens, .scored_tokens = options_.max_scored_tokens});
  for (bool prefill : {false, true}) {
    for (size_t i = 0; i < grants.size(); ++i) {
      if (grants[i] == 0 || demands[i].prefill != prefill) continue;
      plan.sequences.push_back(MakeStep(*running_[i], grants[i]));
      plan.num_tokens += grants[i];
      plan.num_logit_rows += plan.sequences.back().num_targets;
      plan.num_logit_rows += plan.sequences.back().sample ? 1 : 0;
    }
  }
  return plan;
}

std::vector<TokenDemand> Scheduler::Demands() const {
  std::vector<TokenDemand> demands;
  demands.reserve(running_.size());
  for (const auto& sequence : running_) {
    demands.push_back(
        {sequence->RunnableTokens(), sequence->InPrefill(), sequence->UnscoredTokens()});
  }
  return demands;
}

SequenceStep Scheduler::MakeStep(const Sequence& sequence, int32_t num_tokens) {
  SequenceStep step;
  step.sequence = sequence.id();
  step.start = sequence.launched();
  step.num_tokens = num_tokens;
  step.prefill = sequence.InPrefill();
  step.sample = sequence.launched() + num_tokens >= sequence.prompt_tokens();
  step.num_targets = std::min(num_tokens, sequence.UnscoredTokens());
  if (step.num_targets > 0) {
    step.targets = sequence.tokens().subspan(static_cast<size_t>(step.start) + 1,
                                             static_cast<size_t>(step.num_targets));
    step.target_alternatives = sequence.request().sampling.prompt_logprobs;
  }
  const auto known = static_cast<int32_t>(sequence.tokens().size());
  if (step.start < known) {
    step.tokens =
        sequence.tokens().subspan(static_cast<size_t>(step.start), static_cast<size_t>(num_tokens));
  } else {
    step.feedback_row = sequence.pending_row();
  }
  return step;
}

void Scheduler::OnLaunched(const StepPlan& plan) {
  int32_t row = 0;
  for (const SequenceStep& step : plan.sequences) {
    const auto it = running_by_id_.find(step.sequence);
    QUIRE_CHECK(it != running_by_id_.end());
    row += step.num_targets;
    it->second->OnLaunched(step.num_tokens, step.sample ? row++ : -1);
  }
}

std::unique_ptr<Sequence> Scheduler::Release(SequenceId id) {
  if (running_by_id_.erase(id) == 0) return waiting_.Remove(id);
  const auto it = std::find_if(running_.begin(), running_.end(),
                               [id](const auto& sequence) { return sequence->id() == id; });
  QUIRE_CHECK(it != running_.end());
  std::unique_ptr<Sequence> sequence = std::move(*it);
  running_.erase(it);
  return sequence;
}

Sequence* Scheduler::Find(SequenceId id) const {
  const auto it = running_by_id_.find(id);
  return it != running_by_id_.end() ? it->second : waiting_.Find(id);
}

std::vector<Sequence*> Scheduler::Live() const {
  std::vector<Sequence*> live;
  live.reserve(running_.size() + static_cast<size_t>(waiting_.size()));
  for (const auto& sequence : running_) live.push_back(sequence.get());
  for (const auto& sequence : waiting_.sequences()) live.push_back(sequence.get());
  return live;
}

}  // namespace quire
