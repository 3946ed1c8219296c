#include "core/sched/policies/fair_share.h"

#include <algorithm>

#include "core/base/check.h"

namespace quire {

void FairShare::SetWeights(const std::vector<double>& weights) {
  QUIRE_CHECK(weights.size() >= tenants_.size()) << weights.size();
  tenants_.resize(weights.size());
  eligible_weight_ = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    Tenant& tenant = tenants_[i];
    const TenantId id(static_cast<uint32_t>(i));
    tenant.due = due(id);
    tenant.due_from = shared_;
    if (tenant.eligible) Erase(id);
    tenant.weight = weights[i];
    if (tenant.eligible) {
      Insert(id);
      eligible_weight_ += tenant.weight;
    }
  }
}

void FairShare::Insert(TenantId id) {
  const Tenant& tenant = tenants_[id.value()];
  turns_.insert(TurnOf(id, tenant));
  counters_.emplace(tenant.counter, id);
}

void FairShare::Erase(TenantId id) {
  const Tenant& tenant = tenants_[id.value()];
  turns_.erase(TurnOf(id, tenant));
  counters_.erase({tenant.counter, id});
}

double FairShare::LowestCounter() const {
  return counters_.empty() ? last_counter_ : counters_.begin()->first;
}

void FairShare::SetEligible(TenantId id, bool eligible) {
  Tenant& tenant = tenants_.at(id.value());
  if (tenant.eligible == eligible) return;
  tenant.due = due(id);
  tenant.due_from = shared_;
  tenant.eligible = eligible;
  if (eligible) {
    tenant.counter = std::max(tenant.counter, LowestCounter());
    tenant.since = ++last_since_;
    eligible_weight_ += tenant.weight;
    Insert(id);
    return;
  }
  Erase(id);
  eligible_weight_ = turns_.empty() ? 0 : eligible_weight_ - tenant.weight;
  if (turns_.empty()) last_counter_ = tenant.counter;
}

void FairShare::Charge(TenantId id, double cost) {
  Tenant& tenant = tenants_.at(id.value());
  if (!turns_.empty()) shared_ += cost / eligible_weight_;
  tenant.received += cost;
  if (tenant.eligible) {
    tenant.received_of_due += cost;
    Erase(id);
  }
  tenant.counter += cost / tenant.weight;
  if (tenant.eligible) Insert(id);
}

void FairShare::Expect(TenantId id, double cost) {
  Tenant& tenant = tenants_.at(id.value());
  if (tenant.eligible) Erase(id);
  tenant.expected += cost;
  if (tenant.eligible) Insert(id);
}

double FairShare::due(TenantId id) const {
  const Tenant& tenant = tenants_.at(id.value());
  return tenant.due + (tenant.eligible ? (shared_ - tenant.due_from) * tenant.weight : 0);
}

}  // namespace quire
