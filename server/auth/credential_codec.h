#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "quire/v1/config.pb.h"
#include "server/auth/credential_table.h"
#include "server/auth/tenant_settings.h"

namespace quire::server {

// What a config file says about credentials. Errors are InvalidArgument and name the field; an
// entry's own place is for the caller to add.

absl::Status DecodeCredentials(const v1::TenantConfig& message, TenantSettings* tenant);

// Of `tenants`, forwarders and tokens together. Reads the file with the key set.
absl::StatusOr<std::shared_ptr<const CredentialTable>> MakeCredentials(
    const v1::ConfigFile& message, const std::vector<TenantSettings>& tenants);

absl::StatusOr<std::shared_ptr<const CredentialTable>> MakeAdmins(const v1::AdminConfig& message);

}  // namespace quire::server
