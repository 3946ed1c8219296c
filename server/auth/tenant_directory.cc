#include "server/auth/tenant_directory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"

namespace quire::server {
namespace {

void ConfigureDefault(const TenantsConfig& config, TenantRoster::Entry* entry) {
  entry->configured = config.default_tenant.has_value() || config.credentials->empty();
  if (!entry->configured) return;  // as it was, for what it still has running
  entry->settings = config.default_tenant.value_or(TenantSettings());
  entry->settings.policy.name = kDefaultTenantName;
}

absl::Status Unauthenticated(const char* reason, absl::string_view message) {
  return Refuse(absl::StatusCode::kUnauthenticated, message, {.reason = reason});
}

Caller CallerOf(TenantId tenant, const TenantSettings& settings) {
  return {.tenant = tenant,
          .tenant_name = settings.policy.name,
          .max_context_tokens = settings.max_context_tokens,
          .max_output_tokens = settings.max_output_tokens};
}

}  // namespace

TenantTable TenantRoster::Table() const {
  TenantTable table;
  for (const Entry& entry : entries) {
    TenantPolicy& policy = table.emplace_back(entry.settings.policy);
    if (entry.configured) continue;
    policy.kv_reserved_bytes = 0;
    policy.prefix_floor_bytes = 0;
  }
  return table;
}

TenantDirectory::TenantDirectory() { ConfigureDefault({}, &roster_.entries.emplace_back()); }

TenantRoster TenantDirectory::MakeRoster(const TenantsConfig& config) const {
  MutexLock lock(&mu_);
  TenantRoster roster = roster_;
  roster.credentials = config.credentials;
  roster.admins = config.admins;
  for (TenantRoster::Entry& entry : roster.entries) entry.configured = false;
  ConfigureDefault(config, &roster.entries[0]);
  for (const TenantSettings& tenant : config.tenants) {
    const auto known = ids_.find(tenant.policy.name);
    if (known == ids_.end()) {
      roster.entries.push_back({.settings = tenant});
    } else {
      roster.entries[known->second.value()] = {.settings = tenant};
    }
  }
  return roster;
}

TenantChanges TenantDirectory::Install(TenantRoster roster) {
  MutexLock lock(&mu_);
  TenantChanges changes;
  for (size_t i = 0; i < roster.entries.size(); ++i) {
    const TenantRoster::Entry& now = roster.entries[i];
    const bool is_new = i >= roster_.entries.size();
    const bool was_configured = !is_new && roster_.entries[i].configured;
    if (is_new) ids_[now.settings.policy.name] = TenantId(static_cast<uint32_t>(i));
    if (now.configured && !was_configured) ++changes.added;
    if (!now.configured && was_configured) ++changes.removed;
    if (now.configured && was_configured && now.settings != roster_.entries[i].settings) {
      ++changes.changed;
    }
  }
  roster_ = std::move(roster);
  return changes;
}

absl::StatusOr<Caller> TenantDirectory::Resolve(const CallCredentials& call, absl::Time now) const {
  std::shared_ptr<const CredentialTable> credentials;
  {
    MutexLock lock(&mu_);
    credentials = roster_.credentials;
  }
  QUIRE_ASSIGN_OR_RETURN(std::optional<Identity> identity, credentials->Identify(call, now));
  if (identity.has_value()) {
    QUIRE_ASSIGN_OR_RETURN(Caller caller, ByName(identity->owner));
    caller.key_id = std::move(identity->key_id);
    return caller;
  }
  MutexLock lock(&mu_);
  const TenantRoster::Entry& others = roster_.entries[0];
  if (others.configured) return CallerOf(TenantId(0), others.settings);
  return Unauthenticated("CREDENTIALS_MISSING",
                         "the call does not show whose it is: no authorization, and no client "
                         "certificate that is known here");
}

absl::StatusOr<Caller> TenantDirectory::ByName(const std::string& name) const {
  MutexLock lock(&mu_);
  const auto known = ids_.find(name);
  const bool is_known = known != ids_.end();
  if (is_known && roster_.entries[known->second.value()].configured) {
    return CallerOf(known->second, roster_.entries[known->second.value()].settings);
  }
  const TenantRoster::Entry& others = roster_.entries[0];
  if (others.configured) return CallerOf(TenantId(0), others.settings);
  if (is_known) {
    return Unauthenticated("TENANT_REMOVED",
                           absl::StrCat("the tenant ", Quoted(name), " is no longer configured"));
  }
  return Unauthenticated("TENANT_UNKNOWN",
                         absl::StrCat("the tenant ", Quoted(name), " is not configured here"));
}

absl::Status TenantDirectory::CheckAdmin(const CallCredentials& call, absl::Time now) const {
  std::shared_ptr<const CredentialTable> admins;
  {
    MutexLock lock(&mu_);
    admins = roster_.admins;
  }
  QUIRE_ASSIGN_OR_RETURN(const std::optional<Identity> admin, admins->Identify(call, now));
  if (admin.has_value() || admins->empty()) return absl::OkStatus();
  return Unauthenticated("CREDENTIALS_MISSING",
                         "the call does not show that it may administer this server");
}

std::optional<TenantId> TenantDirectory::Find(std::string_view name) const {
  if (name == kDefaultTenantName) return TenantId(0);
  MutexLock lock(&mu_);
  const auto known = ids_.find(absl::string_view(name.data(), name.size()));
  return known == ids_.end() ? std::nullopt : std::optional(known->second);
}

TenantRoster TenantDirectory::roster() const {
  MutexLock lock(&mu_);
  return roster_;
}

}  // namespace quire::server
