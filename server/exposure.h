#pragma once

#include "absl/status/status.h"
#include "server/auth/tenant_settings.h"
#include "server/config.h"

namespace quire::server {

// A listener that other machines can reach must have TLS and know whose its calls are, unless
// --insecure says otherwise. InvalidArgument names the flag and what is missing.
absl::Status CheckExposure(const ServerConfig& config, const TenantsConfig& tenants);

}  // namespace quire::server
