#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/engine/engine.h"

// Who may send requests, and what each is owed.

namespace quire {

absl::Status Engine::SetTenants(TenantTable tenants) {
  QUIRE_RETURN_IF_ERROR(ValidateTenants(tenants));
  int64_t owed = 0;
  for (const TenantPolicy& tenant : tenants) {
    if (tenant.kv_reserved_bytes > kv_bytes_ || tenant.prefix_floor_bytes > kv_bytes_) {
      owed = kv_bytes_ + 1;
      break;
    }
    owed += tenant.kv_reserved_bytes + tenant.prefix_floor_bytes;
    if (owed > kv_bytes_) break;
  }
  if (owed > kv_bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_reserved and prefix_cache_floor of all tenants together exceed the KV "
                     "cache of ",
                     kv_bytes_, " bytes; lower them, or give the server a larger --kv-memory"));
  }
  MutexLock lock(&tenants_mu_);
  if (tenants.size() < num_tenants_) {
    return absl::InvalidArgumentError("a tenant keeps its place as long as the process lives");
  }
  num_tenants_ = tenants.size();
  inbox_.SetTenants(std::move(tenants));
  return absl::OkStatus();
}

}  // namespace quire
