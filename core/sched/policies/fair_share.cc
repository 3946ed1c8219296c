#include "core/sched/policies/fair_share.h"

#include <algorithm>

#include "core/base/check.h"

namespace quire {

void FairShare::SetWeights(const std::vector<double>& weights) {
  QUIRE_CHECK(weights.size() >= tenants_.size()) << weights.size();
  tenants_.resize(weights.size());
  counters_.resize(weights.size(), 0);
  eligible_weight_ = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    Tenant& tenant = tenants_[i];
    tenant.due = due(TenantId(static_cast<uint32_t>(i)));
    tenant.due_from = shared_;
    tenant.weight = weights[i];
    if (tenant.IsEligible()) eligible_weight_ += tenant.weight;
  }
}

FairShare::Turn FairShare::turn(TenantId id) const {
  const Tenant& tenant = tenants_.at(id.value());
  return {counters_[id.value()] + tenant.expected / tenant.weight, tenant.since, id};
}

std::vector<FairShare::Turn> FairShare::turns() const {
  std::vector<Turn> turns;
  turns.reserve(eligible_.size());
  for (const TenantId id : eligible_) turns.push_back(turn(id));
  return turns;
}

double FairShare::LowestCounter() const {
  if (eligible_.empty()) return last_counter_;
  double lowest = counters_[eligible_[0].value()];
  for (const TenantId id : eligible_) lowest = std::min(lowest, counters_[id.value()]);
  return lowest;
}

void FairShare::SetEligible(TenantId id, bool eligible) {
  Tenant& tenant = tenants_.at(id.value());
  if (tenant.IsEligible() == eligible) return;
  double& counter = counters_[id.value()];
  tenant.due = due(id);
  tenant.due_from = shared_;
  if (eligible) {
    counter = std::max(counter, LowestCounter());
    tenant.since = ++last_since_;
    tenant.eligible_index = eligible_.size();
    eligible_.push_back(id);
    eligible_weight_ += tenant.weight;
    return;
  }
  tenants_[eligible_.back().value()].eligible_index = tenant.eligible_index;
  std::swap(eligible_[tenant.eligible_index], eligible_.back());
  eligible_.pop_back();
  tenant.eligible_index = kNotEligible;
  eligible_weight_ = eligible_.empty() ? 0 : eligible_weight_ - tenant.weight;
  if (eligible_.empty()) last_counter_ = counter;
}

void FairShare::Charge(TenantId id, double cost) {
  Tenant& tenant = tenants_.at(id.value());
  if (!eligible_.empty()) shared_ += cost / eligible_weight_;
  tenant.received += cost;
  if (tenant.IsEligible()) tenant.received_of_due += cost;
  counters_[id.value()] += cost / tenant.weight;
}

void FairShare::Expect(TenantId id, double cost) { tenants_.at(id.value()).expected += cost; }

double FairShare::due(TenantId id) const {
  const Tenant& tenant = tenants_.at(id.value());
  return tenant.due + (tenant.IsEligible() ? (shared_ - tenant.due_from) * tenant.weight : 0);
}

}  // namespace quire
