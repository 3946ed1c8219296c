#include "tests/model_check/scheduler_state_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace quire {
namespace {

// Costs are whole, and weights 1 or 2.
int64_t Exact(double cost) { return std::llround(cost * 2); }

}  // namespace

using testing::StateKey;

std::vector<SchedulerStateReader::Running> SchedulerStateReader::RunningOf(
    const Scheduler& scheduler) {
  std::vector<Running> all;
  for (const auto& running : scheduler.running_) {
    all.push_back({running->sequence.get(), running->promised_tokens, running->loan});
  }
  return all;
}

std::vector<SchedulerStateReader::Wait> SchedulerStateReader::WaitsOf(const Scheduler& scheduler) {
  std::vector<Wait> waits;
  for (const auto& [producer, waiters] : scheduler.waiters_) {
    for (const Scheduler::Waiter& waiter : waiters) {
      const Sequence* const sequence = scheduler.Find(waiter.sequence);
      if (sequence == nullptr || sequence->status() != RequestStatus::kWaiting) continue;
      waits.push_back(
          {waiter.sequence, producer, waiter.tokens, scheduler.round_ - waiter.since_round});
    }
  }
  std::sort(waits.begin(), waits.end(),
            [](const Wait& a, const Wait& b) { return a.sequence < b.sequence; });
  return waits;
}

void SchedulerStateReader::AddTo(const Scheduler& scheduler, const Context& context,
                                 StateKey* key) {
  key->Add(scheduler.num_running());
  for (const auto& running : scheduler.running_) {
    key->Add(context.name_of(running->sequence->id()));
    key->Add(running->promised_tokens);
    key->Add(running->loan ? 1 : 0);
  }
  // Of each tenant in order, the parked ones behind the others.
  for (const Scheduler::Tenant& tenant : scheduler.tenants_) {
    key->Add(tenant.queue.parked());
    key->Add(tenant.queue.size());
    tenant.queue.ForEach([&](Sequence* waiting) { key->Add(context.name_of(waiting->id())); });
  }
  AddWaits(scheduler, context, key);
  AddShares(scheduler, context, key);
  AddRates(scheduler, context.now, key);
}

// Only ends of waits for a producer that is live do anything.
void SchedulerStateReader::AddWaits(const Scheduler& scheduler, const Context& context,
                                    StateKey* key) {
  for (const Wait& wait : WaitsOf(scheduler)) {
    key->Add(context.name_of(wait.sequence));
    key->Add(context.name_of(wait.producer));
    key->Add(wait.tokens);
    key->Add(wait.rounds);
  }
  for (const auto& [round, producer] : scheduler.wait_ends_) {
    if (scheduler.Find(producer) == nullptr) continue;
    key->Add(round - scheduler.round_);
    key->Add(context.name_of(producer));
  }
}

// Only differences of counters matter, so they are taken from the one to which whoever comes back
// from idling is lifted. That one never goes down but for refunds: below what those amount to, a
// counter of which nothing is live makes no difference. `since` only orders the eligible ones.
void SchedulerStateReader::AddShares(const Scheduler& scheduler, const Context& context,
                                     StateKey* key) {
  const FairShare& fair = scheduler.fair_;
  const auto tenants = static_cast<uint32_t>(scheduler.tenants_.size());
  FairShare probe = fair;
  std::vector<double> weights;
  for (uint32_t t = 0; t < tenants; ++t) weights.push_back(fair.weight(TenantId(t)));
  weights.push_back(1);
  probe.SetWeights(weights);
  probe.SetEligible(TenantId(tenants), true);
  const double lowest = probe.counter(TenantId(tenants));
  double owed = 0;
  for (double of : context.owed) owed += of;
  std::vector<std::pair<uint64_t, uint32_t>> since;
  for (uint32_t t = 0; t < tenants; ++t) {
    const TenantId id(t);
    double counter = fair.counter(id) - lowest;
    if (!fair.IsEligible(id) && !context.is_live[t] && context.owed[t] == 0) {
      counter = std::max(counter, -owed);
    }
    key->Add(Exact(counter));
    key->Add(Exact(fair.expected(id)));
    key->Add(fair.IsEligible(id) ? 1 : 0);
    if (fair.IsEligible(id)) since.emplace_back(fair.since(id), t);
  }
  std::sort(since.begin(), since.end());
  for (const auto& [_, tenant] : since) key->Add(tenant);
}

// How far a bucket is from being full is asked of a copy that many tokens are taken from; rounded,
// for the time it takes is.
void SchedulerStateReader::AddRates(const Scheduler& scheduler, TimePoint now, StateKey* key) {
  constexpr double kMany = 1e6;
  for (const Scheduler::Tenant& tenant : scheduler.tenants_) {
    TokenBucket bucket = tenant.bucket;
    bucket.Take(kMany, now);
    const Duration full = bucket.OpenAt(now) - now;
    key->Add(std::llround(ToSeconds(full) * 1e6));
    key->Add(tenant.opens_at.has_value() ? 1 : 0);
  }
  for (const auto& [opens, tenant] : scheduler.openings_) {
    key->Add(opens <= now ? 0 : 1 + std::llround(ToSeconds(opens - now) * 1e6));
    key->Add(tenant.value());
  }
}

}  // namespace quire
