#include "server/auth/tenant_directory.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"

namespace quire::server {
namespace {

constexpr size_t kMaxQuotedBytes = 64;

TenantRoster::Entry DefaultEntry(const TenantsConfig& config) {
  TenantRoster::Entry entry;
  if (config.default_tenant.has_value()) entry.settings = *config.default_tenant;
  entry.settings.policy.name = kDefaultTenantName;
  entry.configured = config.default_tenant.has_value() || config.metadata_key.empty();
  return entry;
}

absl::Status Unauthenticated(const char* reason, absl::string_view message) {
  return Refuse(absl::StatusCode::kUnauthenticated, message, {.reason = reason});
}

std::string Quoted(absl::string_view name) {
  const absl::string_view cut = name.substr(0, kMaxQuotedBytes);
  return absl::StrCat("'", absl::CHexEscape(cut), cut.size() < name.size() ? "..." : "", "'");
}

Caller CallerOf(TenantId tenant, const TenantSettings& settings) {
  return {.tenant = tenant,
          .max_priority = settings.policy.max_priority,
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

TenantDirectory::TenantDirectory() { roster_.entries.push_back(DefaultEntry({})); }

TenantRoster TenantDirectory::MakeRoster(const TenantsConfig& config) const {
  MutexLock lock(&mu_);
  TenantRoster roster = roster_;
  roster.metadata_key = config.metadata_key;
  for (TenantRoster::Entry& entry : roster.entries) entry.configured = false;
  roster.entries[0] = DefaultEntry(config);
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
  if (is_known) {
    return Unauthenticated("TENANT_REMOVED", absl::StrCat("the tenant ", Quoted(names[0]),
                                                          " is no longer configured"));
  }
  return Unauthenticated("TENANT_UNKNOWN",
                         absl::StrCat("the tenant ", Quoted(names[0]), " is not configured here"));
}

TenantRoster TenantDirectory::roster() const {
  MutexLock lock(&mu_);
  return roster_;
}

}  // namespace quire::server
