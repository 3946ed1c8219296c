#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/request/tenant_policy.h"
#include "server/auth/api_key.h"
#include "server/auth/credential_table.h"

namespace quire::server {

// One tenant as it was configured: what the engine keeps to, limits on its requests that the front
// end checks (0 is none: the server's own limits hold then), and how its calls prove to be its own.
struct TenantSettings {
  TenantPolicy policy;
  int32_t max_context_tokens = 0;
  int32_t max_output_tokens = 0;
  std::vector<ApiKeyHash> api_keys = {};
  std::vector<std::string> certificate_names = {};

  friend bool operator==(const TenantSettings&, const TenantSettings&) = default;
};

// What the default tenant is called; no other tenant is.
inline constexpr char kDefaultTenantName[] = "default";

// All that a config file says. Plain data; the default says nothing: every call is the default
// tenant's, without limits.
struct TenantsConfig {
  std::vector<TenantSettings> tenants;
  // Of calls that are none of those tenants'. Without one they are refused, unless nobody can prove
  // anything.
  std::optional<TenantSettings> default_tenant;
  // How calls prove to be a tenant's; never null. Those of the tenants' settings are among them.
  std::shared_ptr<const CredentialTable> credentials = std::make_shared<CredentialTable>();
  // Whoever may call the admin service; without any: everybody.
  std::shared_ptr<const CredentialTable> admins = std::make_shared<CredentialTable>();
};

}  // namespace quire::server
