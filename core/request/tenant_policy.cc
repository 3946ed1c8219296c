#include "core/request/tenant_policy.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr double kMaxWeight = 1e6;

absl::Status Validate(const TenantPolicy& tenant) {
  const auto invalid = [&](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat("tenant ", tenant.name, ": ", parts...));
  };
  if (tenant.name.empty()) return absl::InvalidArgumentError("a tenant has no name");
  if (!(tenant.weight >= 1 / kMaxWeight && tenant.weight <= kMaxWeight)) {
    return invalid("weight ", tenant.weight, " is not in [", 1 / kMaxWeight, ", ", kMaxWeight, "]");
  }
  for (const int64_t limit :
       {int64_t{tenant.max_priority}, int64_t{tenant.max_running}, int64_t{tenant.max_queued},
        tenant.max_queued_tokens, tenant.kv_reserved_bytes, tenant.kv_limit_bytes,
        tenant.prefix_floor_bytes, tenant.prefix_ceiling_bytes}) {
    if (limit < 0) return invalid("limits are 0 (none) or more, not ", limit);
  }
  for (const double rate : {tenant.tokens_per_second, tenant.burst_tokens}) {
    if (!std::isfinite(rate) || rate < 0) return invalid("a rate is 0 (none) or more, not ", rate);
  }
  if (tenant.kv_limit_bytes > 0 && tenant.kv_reserved_bytes > tenant.kv_limit_bytes) {
    return invalid("kv_reserved ", tenant.kv_reserved_bytes, " is more than kv_limit ",
                   tenant.kv_limit_bytes);
  }
  if (tenant.prefix_ceiling_bytes > 0 && tenant.prefix_floor_bytes > tenant.prefix_ceiling_bytes) {
    return invalid("prefix_cache_floor ", tenant.prefix_floor_bytes,
                   " is more than prefix_cache_ceiling ", tenant.prefix_ceiling_bytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateTenants(const TenantTable& tenants) {
  if (tenants.empty()) return absl::InvalidArgumentError("there is no tenant");
  for (const TenantPolicy& tenant : tenants) {
    if (absl::Status status = Validate(tenant); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace quire
