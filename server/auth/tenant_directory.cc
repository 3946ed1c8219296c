#include "server/auth/tenant_directory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/text/quoted.h"

namespace quire::server {
namespace {

void ConfigureDefault(const TenantsConfig& config, TenantRoster::Entry* entry) {
  entry->configured = config.default_tenant.has_value() || config.metadata_key.empty();
  if (!entry->configured) return;  // as it was, for what it still has running
  entry->settings = config.default_tenant.value_or(TenantSettings());
  entry->settings.policy.name = kDefaultTenantName;
}

absl::Status Unauthenticated(const char* reason, absl::string_view message) {
  return Refuse(absl::StatusCode::kUnauthenticated, message, {.reason = reason});
}

Caller CallerOf(TenantId tenant, const TenantSettings& settings) {
  return {.tenant = tenant,
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
  roster.metadata_key = config.metadata_key;
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
  changes.metadata_key = roster.metadata_key != roster_.metadata_key;
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

absl::StatusOr<Caller> TenantDirectory::Resolve(MetadataValues values) const {
  MutexLock lock(&mu_);
  if (roster_.metadata_key.empty()) return CallerOf(TenantId(0), roster_.entries[0].settings);
  return ResolveLocked(values(roster_.metadata_key));
}

absl::StatusOr<Caller> TenantDirectory::ResolveLocked(
    const std::vector<absl::string_view>& names) const {
  const std::string& key = roster_.metadata_key;
  if (names.size() > 1) {
    return Unauthenticated(
        "TENANT_AMBIGUOUS",
        absl::StrCat("the call has ", names.size(), " values of ", key, "; it must have one"));
  }
  const auto known = names.empty() ? ids_.end() : ids_.find(names[0]);
  const bool is_known = known != ids_.end();
  if (is_known && roster_.entries[known->second.value()].configured) {
    return CallerOf(known->second, roster_.entries[known->second.value()].settings);
  }
  const TenantRoster::Entry& others = roster_.entries[0];
  if (others.configured) return CallerOf(TenantId(0), others.settings);
  if (names.empty()) {
    return Unauthenticated(
        "TENANT_MISSING",
        absl::StrCat("the call has no ", key, "; this server wants to know whose each call is"));
  }
  const std::string name = Quoted(std::string_view(names[0].data(), names[0].size()));
  if (is_known) {
    return Unauthenticated("TENANT_REMOVED",
                           absl::StrCat("the tenant ", name, " is no longer configured"));
  }
  return Unauthenticated("TENANT_UNKNOWN",
                         absl::StrCat("the tenant ", name, " is not configured here"));
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
