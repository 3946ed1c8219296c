#include "core/request/tenant_policy.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr double kMaxWeight = 1e6;
constexpr int32_t kMaxPriority = 10'000;  // times the longest ageing, a day: still a Duration

absl::Status Validate(const TenantPolicy& tenant) {
  const auto invalid = [&](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat("tenant ", tenant.name, ": ", parts...));
  };
  if (tenant.name.empty()) return absl::InvalidArgumentError("a tenant has no name");
  if (!(tenant.weight >= 1 / kMaxWeight && tenant.weight <= kMaxWeight)) {
    return invalid("weight ", tenant.weight, " is not in [", 1 / kMaxWeight, ", ", kMaxWeight, "]");
  }
  const std::pair<const char*, int64_t> limits[] = {
      {"max_priority", tenant.max_priority},
      {"max_running", tenant.max_running},
      {"max_queued", tenant.max_queued},
      {"max_queued_tokens", tenant.max_queued_tokens},
      {"kv_reserved", tenant.kv_reserved_bytes},
      {"kv_limit", tenant.kv_limit_bytes},
      {"prefix_cache_floor", tenant.prefix_floor_bytes},
      {"prefix_cache_ceiling", tenant.prefix_ceiling_bytes},
  };
  for (const auto& [name, limit] : limits) {
    if (limit < 0) return invalid(name, " is ", limit, "; it must be 0 (none) or more");
  }
  if (tenant.max_priority > kMaxPriority) {
    return invalid("max_priority ", tenant.max_priority, " is more than ", kMaxPriority);
  }
  const std::pair<const char*, double> rates[] = {
      {"tokens_per_second", tenant.tokens_per_second},
      {"burst_tokens", tenant.burst_tokens},
  };
  for (const auto& [name, rate] : rates) {
    if (std::isfinite(rate) && rate >= 0) continue;
    return invalid(name, " is ", rate, "; it must be 0 (none) or more");
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

absl::Status CheckReserves(const TenantTable& tenants, int64_t kv_bytes) {
  int64_t left = kv_bytes;
  for (const TenantPolicy& tenant : tenants) {
    for (const int64_t bytes : {tenant.kv_reserved_bytes, tenant.prefix_floor_bytes}) {
      if (bytes > left) {
        return absl::InvalidArgumentError(
            absl::StrCat("kv_reserved and prefix_cache_floor of all tenants together exceed the KV "
                         "cache of ",
                         kv_bytes, " bytes; lower them, or raise --kv-memory"));
      }
      left -= bytes;
    }
  }
  return absl::OkStatus();
}

}  // namespace quire
