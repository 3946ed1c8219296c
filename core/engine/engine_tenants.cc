#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/engine/engine.h"

// Who may send requests, and what each is owed.

namespace quire {
namespace {

// A token that was computed for nothing is refunded; what has been reported of it stays.
void NeverFall(const TenantLoad& before, TenantLoad* now) {
  now->cost = std::max(now->cost, before.cost);
  now->cost_of_due = std::max(now->cost_of_due, before.cost_of_due);
  now->due = std::max(now->due, before.due);
}

}  // namespace

absl::Status Engine::SetTenants(TenantTable tenants) {
  QUIRE_RETURN_IF_ERROR(ValidateTenants(tenants));
  if (kv_->PrefixBlockTokens() == 0) {
    for (TenantPolicy& tenant : tenants) tenant.prefix_floor_bytes = 0;
  }
  QUIRE_RETURN_IF_ERROR(CheckReserves(tenants, kv_bytes_));
  return inbox_.SetTenants(std::move(tenants));
}

std::vector<std::string> Engine::Violations() const {
  std::vector<std::string> violations = kv_->CheckInvariants();
  for (std::string& violation : scheduler_.CheckInvariants()) {
    violations.push_back(std::move(violation));
  }
  const auto live = static_cast<size_t>(scheduler_.num_running() + scheduler_.num_waiting());
  if (live != live_.size()) {
    violations.push_back(
        absl::StrCat(live_.size(), " live requests, of which the scheduler knows ", live));
  }
  const auto paused = std::ranges::count_if(
      live_, [](const auto& entry) { return entry.second.sequence->paused(); });
  if (paused != paused_requests_.load(std::memory_order_relaxed)) {
    violations.push_back(absl::StrCat(paused, " requests are paused, and ",
                                      paused_requests_.load(std::memory_order_relaxed), " count"));
  }
  if (const int64_t queued = inbox_.NumTaken(); queued != scheduler_.num_waiting()) {
    violations.push_back(
        absl::StrCat(scheduler_.num_waiting(), " requests wait, and ", queued, " count as queued"));
  }
  return violations;
}

void Engine::ApplyTenants(TenantTable tenants) {
  scheduler_.SetTenants(std::move(tenants));
  for (uint32_t i = 0; i < scheduler_.tenants().size(); ++i) {
    Count(TenantId(i)).name = scheduler_.tenants()[i].name;
  }
  for (Sequence* sequence : scheduler_.Live()) {
    const bool waiting = sequence->status() == RequestStatus::kWaiting;
    if (waiting && !scheduler_.CanEverRun(*sequence)) FinishImpossible(sequence);
  }
}

// Its tenant's policy has changed since it was accepted.
void Engine::FinishImpossible(Sequence* sequence) {
  const TenantPolicy& policy = scheduler_.tenants().at(sequence->request().tenant.value());
  Finish(sequence, FinishReason::kError,
         Refuse(absl::StatusCode::kInvalidArgument,
                absl::StrCat("the KV that tenant ", policy.name,
                             " may have was lowered while the "
                             "request waited, which needs more; ask for fewer tokens"),
                {.reason = "TENANT_KV_LIMIT"}),
         TokenEvent{.request = sequence->request().id});
}

TenantStats& Engine::Count(TenantId tenant) {
  if (tenant_stats_.size() < scheduler_.tenants().size()) {
    tenant_stats_.resize(scheduler_.tenants().size());
    tenant_changed_.resize(tenant_stats_.size());
  }
  if (!tenant_changed_.at(tenant.value())) changed_tenants_.push_back(tenant);
  tenant_changed_[tenant.value()] = true;
  return tenant_stats_[tenant.value()];
}

// What others do changes a tenant's load as well: what it is due, what of its prefixes is kept.
// That is too much for each step, but not once in a while and before the engine rests.
void Engine::CountAllTenants() {
  for (uint32_t i = 0; i < scheduler_.tenants().size(); ++i) Count(TenantId(i));
  all_tenants_counted_ = now_;
}

void Engine::PublishTenants() {
  for (const TenantId id : changed_tenants_) {
    tenant_changed_[id.value()] = false;
    TenantLoad& load = tenant_stats_[id.value()].load;
    const TenantLoad before = std::exchange(load, scheduler_.Load(id));
    NeverFall(before, &load);
  }
  stats_board_.Publish(tenant_stats_, changed_tenants_);
  changed_tenants_.clear();
}

std::vector<TenantStats> Engine::Tenants() const {
  std::vector<TenantStats> tenants = stats_board_.ReadTenants();
  const std::vector<uint64_t> rejected = inbox_.RejectedByTenant();
  for (size_t i = 0; i < tenants.size(); ++i) tenants[i].rejected = rejected.at(i);
  return tenants;
}

void Engine::WaitForWork() {
  const TimePoint opening = scheduler_.NextOpening();
  TimePoint until = opening;
  for (const auto* times : {&deadlines_, &pauses_}) {
    if (!times->empty()) until = std::min(until, times->begin()->first);
  }
  if (opening != kNoDeadline) rests_until_.store(opening, std::memory_order_relaxed);
  inbox_.Wait(until == kNoDeadline ? Duration::max() : until - clock_->Now());
  rests_until_.store({}, std::memory_order_relaxed);
}

EngineProgress Engine::Progress() const {
  return {.live_requests = live_requests() - paused_requests_.load(std::memory_order_relaxed),
          .steps = completed_steps_.load(std::memory_order_relaxed),
          .rests_until = rests_until_.load(std::memory_order_relaxed)};
}

}  // namespace quire
