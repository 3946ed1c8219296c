#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "quire/v1/config.pb.h"
#include "server/auth/tenant_settings.h"

namespace quire::server {

// Reads the file that --config names: quire.v1.ConfigFile as JSON, validated as a whole.
// InvalidArgument and NotFound say on one line what is wrong, where, and what to change. What only
// a loaded model can tell, such as the size of its KV cache, Engine::SetTenants checks.
absl::StatusOr<TenantsConfig> LoadTenantFile(const std::string& path);
absl::StatusOr<TenantsConfig> ParseTenantFile(const std::string& json);

// A tenant with every default filled in, for people and for the admin service: what is not limited
// is left out, sizes are in bytes, and of an API key there is its id alone.
v1::TenantConfig EncodeTenant(const TenantSettings& tenant);

}  // namespace quire::server
