#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/ids.h"
#include "core/base/mutex.h"
#include "core/request/tenant_policy.h"
#include "server/auth/tenant_settings.h"

namespace quire::server {

// Whose a call is, and what that means for its request. A limit of 0: the server's alone holds.
struct Caller {
  TenantId tenant;
  std::string tenant_name = {};
  std::string key_id = {};  // of the API key that it showed, if any
  int32_t max_context_tokens = 0;
  int32_t max_output_tokens = 0;
};

// Every tenant that this process has known. Plain data.
struct TenantRoster {
  struct Entry {
    TenantSettings settings;
    bool configured = true;  // else no new call is this tenant's
  };
  std::vector<Entry> entries;  // by TenantId; the first is the default tenant
  std::shared_ptr<const CredentialTable> credentials = std::make_shared<CredentialTable>();
  std::shared_ptr<const CredentialTable> admins = std::make_shared<CredentialTable>();

  // What the engine is to know. A tenant that is no longer configured keeps its limits, for what it
  // still has running, and nothing is set aside for it.
  TenantTable Table() const;
};

// How one roster differs from the one before.
struct TenantChanges {
  int added = 0;
  int removed = 0;
  int changed = 0;
};

// Tells whose a call is. A new configuration goes in whole, between two calls:
//
//   roster = MakeRoster(config); engine.SetTenants(roster.Table()); Install(roster)
//
// in this order, so that the engine knows every id that comes out of here. A name keeps its id as
// long as the process lives. Calls that show nothing, and names that are not listed, or no longer,
// share the default tenant's id where there is one and are refused otherwise, so outsiders cannot
// make the number of tenants grow.
//
// Thread-safe, but only one thread at a time may bring in a configuration. Resolve takes the lock
// twice, for a look-up each; what a call shows is checked in between.
class TenantDirectory {
 public:
  // As under an empty configuration: every call is the default tenant's, without limits.
  TenantDirectory();

  TenantRoster MakeRoster(const TenantsConfig& config) const;
  TenantChanges Install(TenantRoster roster);

  // Whose a call is. Unauthenticated, with a reason for programs, when that is nobody who may call.
  absl::StatusOr<Caller> Resolve(const CallCredentials& call, absl::Time now) const;
  // Whether a call may use the admin service; else Unauthenticated.
  absl::Status CheckAdmin(const CallCredentials& call, absl::Time now) const;

  // Any tenant that this process has known, by its name.
  std::optional<TenantId> Find(std::string_view name) const;

  TenantRoster roster() const;

 private:
  absl::StatusOr<Caller> ByName(const std::string& name) const;

  mutable Mutex mu_;
  TenantRoster roster_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, TenantId> ids_ ABSL_GUARDED_BY(mu_);  // of all but the default
};

}  // namespace quire::server
