#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/request/tenant_policy.h"

namespace quire::server {

// One tenant as it was configured: what the engine keeps to, and limits on its requests that the
// front end checks. 0 is none: the server's own limits hold then.
struct TenantSettings {
  TenantPolicy policy;
  int32_t max_context_tokens = 0;
  int32_t max_output_tokens = 0;

  friend bool operator==(const TenantSettings&, const TenantSettings&) = default;
};

// What the default tenant is called; no other tenant is.
inline constexpr char kDefaultTenantName[] = "default";

// All that a config file says. Plain data; the default says nothing: every call is the default
// tenant's, without limits.
struct TenantsConfig {
  std::vector<TenantSettings> tenants;
  // Of calls whose tenant is not listed; none: those are refused, if there is a metadata key.
  std::optional<TenantSettings> default_tenant;
  std::string metadata_key;  // names a call's tenant; empty: none does
};

}  // namespace quire::server
