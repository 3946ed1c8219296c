#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/ids.h"
#include "core/base/mutex.h"
#include "core/request/tenant_policy.h"
#include "server/auth/tenant_settings.h"

namespace quire::server {

// Whose a call is, and what that means for its request. A limit of 0: the server's alone holds.
struct Caller {
  TenantId tenant;
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
  std::string metadata_key;

  // What the engine is to know. A tenant that is no longer configured keeps its limits, for what it
  // still has running, and nothing is set aside for it.
  TenantTable Table() const;
};

// How one roster differs from the one before.
struct TenantChanges {
  int added = 0;
  int removed = 0;
  int changed = 0;
  bool metadata_key = false;
};

// Tells whose a call is. A new configuration goes in whole, between two calls:
//
//   roster = MakeRoster(config); engine.SetTenants(roster.Table()); Install(roster)
//
// in this order, so that the engine knows every id that comes out of here. A name keeps its id as
// long as the process lives. Names that are not listed, or no longer, share the default tenant's id
// where there is one and are refused otherwise, so outsiders cannot make the number of tenants
// grow.
//
// Thread-safe, but only one thread at a time may bring in a configuration. Resolve takes the lock
// for one look-up.
class TenantDirectory {
 public:
  // As under an empty configuration: every call is the default tenant's, without limits.
  TenantDirectory();

  TenantRoster MakeRoster(const TenantsConfig& config) const;
  TenantChanges Install(TenantRoster roster);

  // `values` returns what a call has under a metadata key. Unauthenticated, with a reason for
  // programs, when that names nobody who may call.
  using MetadataValues = absl::FunctionRef<std::vector<absl::string_view>(absl::string_view key)>;
  absl::StatusOr<Caller> Resolve(MetadataValues values) const;

  // Any tenant that this process has known, by its name.
  std::optional<TenantId> Find(std::string_view name) const;

  TenantRoster roster() const;

 private:
  absl::StatusOr<Caller> ResolveLocked(const std::vector<absl::string_view>& names) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  TenantRoster roster_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, TenantId> ids_ ABSL_GUARDED_BY(mu_);  // of all but the default
};

}  // namespace quire::server
