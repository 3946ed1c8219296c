#include "core/sched/policies/kv_shares.h"

#include "core/base/check.h"

namespace quire {

void KvShares::SetPolicies(const TenantTable& tenants) {
  QUIRE_CHECK(tenants.size() >= tenants_.size()) << tenants.size();
  tenants_.resize(tenants.size());
  unused_reserves_ = 0;
  for (size_t i = 0; i < tenants.size(); ++i) {
    tenants_[i].reserved = tenants[i].kv_reserved_bytes;
    tenants_[i].limit = tenants[i].kv_limit_bytes;
    unused_reserves_ += tenants_[i].UnusedReserve();
  }
}

void KvShares::Add(TenantId tenant, int64_t bytes) {
  Tenant& t = tenants_.at(tenant.value());
  unused_reserves_ -= t.UnusedReserve();
  t.used += bytes;
  QUIRE_CHECK(t.used >= 0) << t.used;
  unused_reserves_ += t.UnusedReserve();
}

}  // namespace quire
