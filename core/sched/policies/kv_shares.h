#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"
#include "core/request/tenant_policy.h"

namespace quire {

// On which terms a tenant may have more KV.
enum class KvGrant {
  kFirm,       // within its reserve, or of what nobody's reserve needs
  kLoan,       // of what another's reserve may want back: to be preempted then
  kNoRoom,     // the memory is taken
  kOverLimit,  // its own limit
};

// How much KV each tenant was promised, against its reserve and its limit. In bytes; what several
// sequences share counts for each.
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

  // Of `bytes` more for the tenant: `fits`, whether the cache has them, and `free_after`, what it
  // would have left. `limited` false: whatever the tenant's limit is.
  KvGrant Decide(TenantId tenant, int64_t bytes, bool fits, int64_t free_after,
                 bool limited = true) const;
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
