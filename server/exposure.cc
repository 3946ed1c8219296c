#include "server/exposure.h"

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire::server {
namespace {

// `missing`: what to add so that its callers are known; empty: they are.
absl::Status CheckListener(const ServerConfig& config, const char* flag,
                           const ListenAddress& address, const char* missing) {
  if (config.insecure || address.IsLoopback()) return absl::OkStatus();
  const bool has_tls = !config.tls.empty();
  if (has_tls && *missing == '\0') return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": ", address.ToString(), " can be reached from other machines, ",
                   has_tls ? "and whoever connects may call" : "and there is no encryption", "; ",
                   has_tls ? missing : "add --tls-cert and --tls-key",
                   ", listen on loopback behind a proxy, or accept that with --insecure"));
}

}  // namespace

absl::Status CheckExposure(const ServerConfig& config, const TenantsConfig& tenants) {
  const bool knows_clients = config.tls.require_client_certificate;
  const bool knows_tenants = !tenants.credentials->empty() && !tenants.default_tenant.has_value();
  QUIRE_RETURN_IF_ERROR(
      CheckListener(config, "--listen", config.listen,
                    knows_clients || knows_tenants
                        ? ""
                        : "have --config name tenants with credentials and no default_tenant, add "
                          "--tls-require-client-cert"));
  if (!config.admin_listen.has_value()) return absl::OkStatus();
  return CheckListener(config, "--admin-listen", *config.admin_listen,
                       knows_clients || !tenants.admins->empty()
                           ? ""
                           : "have --config name an admin, add --tls-require-client-cert");
}

}  // namespace quire::server
