#include "server/cli/fleet/fairness_meter.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace quire::cli {

FairnessMeter::FairnessMeter(std::vector<double> weights, size_t replicas, TimePoint begin,
                             TimePoint end)
    : weights_(std::move(weights)),
      begin_(begin),
      end_(end),
      waiting_(replicas * weights_.size()),
      waiting_of_tenant_(weights_.size()),
      idle_tenants_(weights_.size()),
      cost_(replicas * weights_.size()) {}

void FairnessMeter::SetWaiting(size_t replica, size_t tenant, int64_t waiting, TimePoint at) {
  const bool was_contended = contended();
  int64_t& of_tenant = waiting_of_tenant_[tenant];
  const bool had = of_tenant > 0;
  int64_t& here = waiting_[replica * tenants() + tenant];
  of_tenant += waiting - std::exchange(here, waiting);
  const bool has = of_tenant > 0;
  if (had && !has) ++idle_tenants_;
  if (has && !had) --idle_tenants_;
  if (contended() == was_contended) return;
  if (was_contended) contended_seconds_ += Overlap(contended_since_, at);
  contended_since_ = at;
}

void FairnessMeter::AddCost(size_t replica, size_t tenant, double cost, TimePoint at) {
  if (at >= begin_ && at < end_) CostOf(replica, tenant) += cost;
}

double FairnessMeter::Overlap(TimePoint from, TimePoint to) const {
  return std::max(0.0, ToSeconds(std::min(to, end_) - std::max(from, begin_)));
}

double FairnessMeter::ContendedSeconds(TimePoint now) const {
  return contended_seconds_ + (contended() ? Overlap(contended_since_, now) : 0);
}

std::vector<TenantFairness> FairnessMeter::Result() const {
  const double all = std::accumulate(cost_.begin(), cost_.end(), 0.0);
  if (all == 0) return {};
  const double weights = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  std::vector<TenantFairness> result(tenants());
  for (size_t t = 0; t < tenants(); ++t)
    result[t] = {.due = weights_[t] / weights, .least_share = 1};
  for (auto replica = cost_.begin(); replica != cost_.end();
       replica += static_cast<ptrdiff_t>(tenants())) {
    const double here = std::accumulate(replica, replica + static_cast<ptrdiff_t>(tenants()), 0.0);
    if (here == 0) continue;
    for (size_t t = 0; t < tenants(); ++t) {
      const double cost = replica[static_cast<ptrdiff_t>(t)];
      result[t].share += cost / all;
      result[t].least_share = std::min(result[t].least_share, cost / here);
      result[t].most_share = std::max(result[t].most_share, cost / here);
    }
  }
  return result;
}

}  // namespace quire::cli
