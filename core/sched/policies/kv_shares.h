#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"
#include "core/request/tenant_policy.h"

namespace quire {

// How much KV each tenant was promised, against its reserve and its limit. In bytes; what several
// sequences share counts for each. What is within its reserve, or of what nobody's reserve needs, a
// tenant has firmly; else it is a loan, to be preempted when another's reserve is wanted.
//
// With T the whole cache, firm(t) what t was granted firmly and reserve(t) what it is owed:
//
//   sum over t of max(firm(t), reserve(t)) <= T - what floors of prefix caches protect
//
// So, with one cache class, preempting loans is enough to give a tenant its reserve. A value.
class KvShares {
 public:
  // Keeps what is used. `tenants` are at least as many as before.
  void SetPolicies(const TenantTable& tenants);

  // Whether the tenant would have `bytes` more firmly, where the cache would have `free_after`
  // left.
  bool IsFirm(TenantId tenant, int64_t bytes, int64_t free_after) const {
    const Tenant& t = tenants_.at(tenant.value());
    return IsWithinReserve(tenant, bytes) || free_after >= unused_reserves_ - t.UnusedReserve();
  }
  // The tenant was promised so much more; below 0: it gave so much back.
  void Add(TenantId tenant, int64_t bytes);

  int64_t used(TenantId tenant) const { return tenants_.at(tenant.value()).used; }
  bool IsWithinReserve(TenantId tenant, int64_t more_bytes = 0) const {
    const Tenant& t = tenants_.at(tenant.value());
    return t.used + more_bytes <= t.reserved;
  }
  bool IsOverLimit(TenantId tenant, int64_t more_bytes) const {
    const Tenant& t = tenants_.at(tenant.value());
    return t.limit > 0 && t.used + more_bytes > t.limit;
  }
  // Reserves that are not in use, of all tenants.
  int64_t unused_reserves() const { return unused_reserves_; }

 private:
  struct Tenant {
    int64_t used = 0;
    int64_t reserved = 0;
    int64_t limit = 0;

    int64_t UnusedReserve() const { return used < reserved ? reserved - used : 0; }
  };

  std::vector<Tenant> tenants_;
  int64_t unused_reserves_ = 0;
};

}  // namespace quire
