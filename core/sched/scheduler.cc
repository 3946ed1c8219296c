#include "core/sched/scheduler.h"

#include <algorithm>

#include "core/base/check.h"

namespace quire {

Scheduler::Scheduler(const SchedulerOptions& options, KvCacheManager* kv)
    : options_(options), kv_(kv), costs_{.swap_seconds_per_byte = options.swap_seconds_per_byte} {
  QUIRE_CHECK(options.max_running_sequences >= 1 &&
              options.max_step_tokens >= options.max_running_sequences &&
              options.max_scored_tokens >= 1 && options.max_prefill_beside_decode >= 0 &&
              options.max_preemptions >= 0 && options.max_prefix_wait_steps >= 0);
  TenantPolicy everybody;
  everybody.name = "default";
  SetTenants({everybody});
}

Scheduler::~Scheduler() = default;

void Scheduler::SetTenants(TenantTable tenants) {
  QUIRE_CHECK(tenants.size() >= policies_.size()) << tenants.size();
  policies_ = std::move(tenants);
  while (tenants_.size() < policies_.size()) tenants_.emplace_back(options_.ageing);
  shares_.SetPolicies(policies_);
  std::vector<double> weights;
  std::vector<PrefixQuota> quotas;
  reserving_.clear();
  for (size_t i = 0; i < policies_.size(); ++i) {
    const TenantPolicy& policy = policies_[i];
    weights.push_back(policy.weight);
    quotas.push_back({policy.prefix_floor_bytes, policy.prefix_ceiling_bytes});
    if (policy.kv_reserved_bytes > 0) reserving_.emplace_back(static_cast<uint32_t>(i));
    tenants_[i].bucket.SetRate(policy.tokens_per_second, policy.burst_tokens);
  }
  fair_.SetWeights(weights);
  kv_->SetPrefixQuotas(quotas);
  ReviewLoans();
  for (uint32_t i = 0; i < tenants_.size(); ++i) {
    AskBucket(TenantId(i));
    Refresh(TenantId(i));
  }
}

// What was granted under other policies: each tenant's oldest sequences are within its reserve, and
// the others are loans where somebody lacks what he is owed.
void Scheduler::ReviewLoans() {
  std::vector<int64_t> covered(tenants_.size(), 0);
  num_loans_ = 0;
  for (const auto& running : running_) {
    const uint32_t tenant = running->sequence->request().tenant.value();
    covered[tenant] += PromisedBytes(*running);
    running->loan = covered[tenant] > policies_[tenant].kv_reserved_bytes;
    num_loans_ += running->loan ? 1 : 0;
  }
  SettleLoans();
}

bool Scheduler::CanEverRun(const Sequence& sequence) const {
  const KvBlockCounts blocks = kv_->PromiseFor(sequence.max_kv_tokens());
  const int64_t limit = PolicyOf(sequence).kv_limit_bytes;
  const int64_t left = kv_->TotalBytes() - kv_->FloorBytes();
  return kv_->BytesOf(blocks) <= (limit > 0 ? std::min(limit, left) : left) &&
         kv_->EmptyBudget().TryTake(blocks);
}

Scheduler::Tenant& Scheduler::TenantOf(const Sequence& sequence) {
  return tenants_.at(sequence.request().tenant.value());
}

const TenantPolicy& Scheduler::PolicyOf(const Sequence& sequence) const {
  return policies_.at(sequence.request().tenant.value());
}

void Scheduler::Enqueue(std::unique_ptr<Sequence> sequence) {
  const bool inserted =
      live_.emplace(sequence->id(), Entry{.sequence = sequence.get(), .running = nullptr}).second;
  QUIRE_CHECK(inserted) << "sequence " << sequence->id().value() << " waits already";
  const TenantId tenant = sequence->request().tenant;
  const int32_t priority =
      std::clamp(sequence->request().priority, 0, PolicyOf(*sequence).max_priority);
  ++num_waiting_;
  waiting_tokens_ += sequence->prompt_tokens();
  tenants_[tenant.value()].queue.Push(std::move(sequence), priority);
  Refresh(tenant);
}

std::unique_ptr<Sequence> Scheduler::TakeWaiting(TenantId tenant, SequenceId id) {
  TenantQueue& queue = tenants_.at(tenant.value()).queue;
  num_parked_ -= queue.parked();
  std::unique_ptr<Sequence> sequence = queue.Remove(id);
  num_parked_ += queue.parked();
  QUIRE_CHECK(sequence != nullptr) << id.value();
  --num_waiting_;
  waiting_tokens_ -= sequence->prompt_tokens();
  return sequence;
}

void Scheduler::Refresh(TenantId id) {
  Tenant& tenant = tenants_[id.value()];
  const bool may_start = MayStart(id);
  fair_.SetEligible(id, tenant.prefilling > 0 || may_start);
  const int64_t held = may_start ? 0 : tenant.queue.ready();
  num_held_ += held - std::exchange(tenant.held, held);
  const int64_t aside = tenant.queue.set_aside();
  num_set_aside_ += aside - std::exchange(tenant.set_aside, aside);
}

bool Scheduler::MayStart(TenantId id) const {
  const Tenant& tenant = tenants_[id.value()];
  const Sequence* const head = tenant.queue.Front();
  if (head == nullptr || tenant.opens_at.has_value()) return false;
  const TenantPolicy& policy = policies_[id.value()];
  if (policy.max_running > 0 && tenant.running >= policy.max_running) return false;
  // A limit that was lowered since it started is not to stop a tenant's only sequence for good.
  return tenant.running == 0 ||
         !shares_.IsOverLimit(id, kv_->BytesOf(kv_->PromiseFor(TokensToPromise(*head))));
}

StepPlan Scheduler::PlanStep(StepId id) const {
  StepPlan plan;
  plan.id = id;
  std::vector<TokenParty> parties;
  const std::vector<TokenDemand> demands = Demands(&parties);
  const std::vector<int32_t> grants =
      SplitTokenBudget(demands, parties,
                       {.tokens = options_.max_step_tokens,
                        .scored_tokens = options_.max_scored_tokens,
                        .prefill_beside_decode = options_.max_prefill_beside_decode});
  plan.sequences.reserve(demands.size());
  for (bool prefill : {false, true}) {
    for (size_t i = 0; i < grants.size(); ++i) {
      if (grants[i] == 0 || demands[i].prefill != prefill) continue;
      plan.sequences.push_back(MakeStep(*running_[i]->sequence, grants[i]));
      plan.num_tokens += grants[i];
      plan.num_logit_rows += plan.sequences.back().num_targets;
      plan.num_logit_rows += plan.sequences.back().sample ? 1 : 0;
    }
  }
  return plan;
}

std::vector<TokenDemand> Scheduler::Demands(std::vector<TokenParty>* parties) const {
  std::vector<TokenDemand> demands;
  demands.reserve(running_.size());
  absl::flat_hash_map<TenantId, int32_t> party_of;
  for (const auto& running : running_) {
    const Sequence& sequence = *running->sequence;
    TokenDemand& demand = demands.emplace_back();
    demand.runnable_tokens = running->arriving ? 0 : RunnableTokens(*running);
    demand.prefill = sequence.InPrefill();
    demand.scored_tokens = sequence.UnscoredTokens();
    if (!demand.prefill) continue;
    const TenantId tenant = sequence.request().tenant;
    const auto [it, inserted] = party_of.emplace(tenant, static_cast<int32_t>(parties->size()));
    demand.party = it->second;
    if (!inserted) continue;
    parties->push_back({.counter = fair_.counter(tenant),
                        .since = fair_.since(tenant),
                        .cost_per_token = kPrefillTokenCost / fair_.weight(tenant)});
  }
  return demands;
}

// Within what it has been promised.
int32_t Scheduler::RunnableTokens(const Running& running) const {
  const int64_t promised = running.promised_tokens - running.sequence->launched();
  return static_cast<int32_t>(
      std::min<int64_t>(running.sequence->RunnableTokens(), std::max<int64_t>(promised, 0)));
}

SequenceStep Scheduler::MakeStep(const Sequence& sequence, int32_t num_tokens) {
  SequenceStep step;
  step.sequence = sequence.id();
  step.tenant = sequence.request().tenant;
  step.start = sequence.launched();
  step.num_tokens = num_tokens;
  step.prefill = sequence.InPrefill();
  step.sample = sequence.launched() + num_tokens >= sequence.prefill_tokens();
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
    const auto it = live_.find(step.sequence);
    QUIRE_CHECK(it != live_.end() && it->second.running != nullptr)
        << "sequence " << step.sequence.value() << " does not run";
    Sequence& sequence = *it->second.sequence;
    Tenant& tenant = TenantOf(sequence);
    int32_t prompt_tokens = 0;
    if (step.prefill) {
      prompt_tokens = sequence.NewPromptTokens(step.num_tokens);
      tenant.counters.recomputed_tokens += static_cast<uint64_t>(step.num_tokens - prompt_tokens);
      fair_.Expect(step.tenant, -prompt_tokens * kPrefillTokenCost);
    }
    const double prefill_cost = prompt_tokens * kPrefillTokenCost;
    fair_.Charge(step.tenant, prefill_cost + (step.sample ? kSampledTokenCost : 0));
    tenant.bucket.Take(prompt_tokens + (step.sample ? 1 : 0), now_);
    row += step.num_targets;
    sequence.OnLaunched(step.num_tokens, step.sample ? row++ : -1);
    if (step.prefill && !sequence.InPrefill()) --tenant.prefilling;
  }
  // All of them have competed for the whole step.
  for (const SequenceStep& step : plan.sequences) {
    if (AskBucket(step.tenant) || step.prefill) Refresh(step.tenant);
  }
}

bool Scheduler::AskBucket(TenantId id) {
  Tenant& tenant = tenants_[id.value()];
  const bool has_rate = policies_[id.value()].tokens_per_second > 0;
  if (!has_rate && !tenant.opens_at.has_value()) return false;
  const TimePoint opens = tenant.bucket.OpenAt(now_, fair_.expected(id) / kPrefillTokenCost);
  const auto opens_at = opens > now_ ? std::optional(opens) : std::nullopt;
  const auto before = std::exchange(tenant.opens_at, opens_at);
  if (before == opens_at) return false;
  if (before.has_value()) openings_.erase({*before, id});
  if (opens_at.has_value()) openings_.emplace(*opens_at, id);
  return before.has_value() != opens_at.has_value();
}

std::unique_ptr<Sequence> Scheduler::Release(SequenceId id, StepId last_launched) {
  const auto it = live_.find(id);
  if (it == live_.end()) return nullptr;
  const Entry& entry = it->second;
  const TenantId tenant = entry.sequence->request().tenant;
  const bool has_kv = entry.running != nullptr || entry.sequence->swapped_tokens() > 0;
  if (has_kv) kv_->Free(id, last_launched);
  std::unique_ptr<Sequence> sequence = entry.running != nullptr
                                           ? std::move(TakeRunning(entry.running)->sequence)
                                           : TakeWaiting(tenant, id);
  live_.erase(id);
  Refresh(tenant);
  return sequence;
}

Sequence* Scheduler::Find(SequenceId id) const {
  const auto it = live_.find(id);
  return it == live_.end() ? nullptr : it->second.sequence;
}

std::vector<Sequence*> Scheduler::Live() const {
  std::vector<Sequence*> live;
  live.reserve(live_.size());
  for (const auto& running : running_) live.push_back(running->sequence.get());
  for (const Tenant& tenant : tenants_) {
    tenant.queue.ForEach([&live](Sequence* sequence) { live.push_back(sequence); });
  }
  return live;
}

TenantLoad Scheduler::Load(TenantId id) const {
  const Tenant& tenant = tenants_.at(id.value());
  TenantLoad load = tenant.counters;
  load.waiting = tenant.queue.size();
  load.waiting_tokens = tenant.queue.prompt_tokens();
  load.running = tenant.running;
  load.kv_bytes = shares_.used(id);
  load.kv_byte_seconds +=
      static_cast<double>(load.kv_bytes) * ToSeconds(now_ - tenant.kv_changed_at);
  const PrefixUse prefix = kv_->PrefixUseOf(id);
  load.prefix_bytes = prefix.unused_bytes;
  load.prefix_blocks_lost = prefix.lost_blocks;
  load.prefix_blocks_taken = prefix.taken_blocks;
  load.cost = fair_.received(id);
  load.cost_of_due = fair_.received_of_due(id);
  load.due = fair_.due(id);
  return load;
}

WaitCounts Scheduler::Waits() const {
  return {.turn = num_waiting_ - num_held_ - num_parked_ - num_set_aside_,
          .tenant = num_held_,
          .prefix = num_parked_,
          .reader = num_set_aside_};
}

TimePoint Scheduler::NextOpening() const {
  return openings_.empty() ? kNoDeadline : openings_.begin()->first;
}

}  // namespace quire
