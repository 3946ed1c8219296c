#include "server/auth/tenant_file.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "server/auth/credential_codec.h"
#include "server/flag_values.h"
#include "server/metadata_text.h"

namespace quire::server {
namespace {

constexpr size_t kMaxFileBytes = 4 << 20;

absl::Status Invalid(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

absl::Status CheckName(absl::string_view field, const std::string& name) {
  if (!name.empty() && name.size() <= kMaxTenantNameBytes && IsMetadataText(name)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(field, " is '", absl::Utf8SafeCHexEscape(name),
                                                 "'; it must be 1 to ", kMaxTenantNameBytes,
                                                 " printable ASCII characters without spaces"));
}

absl::Status DecodeBytes(const char* field, const std::string& text, int64_t* bytes) {
  absl::StatusOr<int64_t> parsed = ParseBytes(text);
  if (!parsed.ok()) return Invalid(field, parsed.status().message());
  *bytes = *parsed;
  return absl::OkStatus();
}

absl::Status DecodeSizes(const v1::TenantConfig& message, TenantPolicy* policy) {
  if (message.has_kv_reserved()) {
    QUIRE_RETURN_IF_ERROR(
        DecodeBytes("kv_reserved", message.kv_reserved(), &policy->kv_reserved_bytes));
  }
  if (message.has_kv_limit()) {
    QUIRE_RETURN_IF_ERROR(DecodeBytes("kv_limit", message.kv_limit(), &policy->kv_limit_bytes));
  }
  if (message.has_prefix_cache_floor()) {
    QUIRE_RETURN_IF_ERROR(DecodeBytes("prefix_cache_floor", message.prefix_cache_floor(),
                                      &policy->prefix_floor_bytes));
  }
  if (message.has_prefix_cache_ceiling()) {
    QUIRE_RETURN_IF_ERROR(DecodeBytes("prefix_cache_ceiling", message.prefix_cache_ceiling(),
                                      &policy->prefix_ceiling_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<TenantSettings> DecodeSettings(const v1::TenantConfig& message) {
  TenantSettings tenant;
  TenantPolicy& policy = tenant.policy;
  policy.name = message.name();
  QUIRE_RETURN_IF_ERROR(CheckName("name", policy.name));
  if (message.has_weight()) policy.weight = message.weight();
  policy.max_priority = message.max_priority();
  policy.max_running = message.max_running();
  policy.max_queued = message.max_queued();
  policy.max_queued_tokens = message.max_queued_tokens();
  policy.tokens_per_second = message.tokens_per_second();
  policy.burst_tokens = message.burst_tokens();
  QUIRE_RETURN_IF_ERROR(DecodeSizes(message, &policy));
  if (message.has_sharing_group()) {
    QUIRE_RETURN_IF_ERROR(CheckName("sharing_group", message.sharing_group()));
    policy.sharing_group = message.sharing_group();
  }
  tenant.max_context_tokens = message.max_context_tokens();
  tenant.max_output_tokens = message.max_output_tokens();
  QUIRE_RETURN_IF_ERROR(DecodeCredentials(message, &tenant));
  const std::pair<const char*, int32_t> limits[] = {
      {"max_context_tokens", tenant.max_context_tokens},
      {"max_output_tokens", tenant.max_output_tokens},
  };
  for (const auto& [name, limit] : limits) {
    if (limit >= 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is ", limit, "; it must be 0 (none) or more"));
  }
  QUIRE_RETURN_IF_ERROR(ValidateTenants({policy}));
  return tenant;
}

// The error says which entry of the file it is about.
absl::StatusOr<TenantSettings> DecodeTenant(const std::string& entry,
                                            const v1::TenantConfig& message) {
  absl::StatusOr<TenantSettings> tenant = DecodeSettings(message);
  if (!tenant.ok()) return Invalid(entry, tenant.status().message());
  return tenant;
}

absl::StatusOr<TenantSettings> DecodeDefault(v1::TenantConfig message) {
  if (message.has_name()) {
    return Invalid("default_tenant",
                   absl::StrCat("it is called '", kDefaultTenantName, "'; leave out its name"));
  }
  if (message.api_keys_size() > 0 || message.certificate_names_size() > 0) {
    return Invalid("default_tenant",
                   "its calls are those that show nothing; it has no credentials");
  }
  message.set_name(kDefaultTenantName);
  return DecodeTenant("default_tenant", message);
}

absl::Status CheckSomebodyMayCall(const TenantsConfig& config) {
  if (config.credentials->empty() && !config.tenants.empty()) {
    return Invalid("tenants",
                   "no call could be theirs: give them api_keys (`quire auth new-key`) or "
                   "certificate_names, or the file tokens or trusted_forwarders");
  }
  if (!config.credentials->empty() && config.tenants.empty() && !config.default_tenant) {
    return Invalid("tenants", "nobody could call; list tenants or a default_tenant");
  }
  return absl::OkStatus();
}

absl::StatusOr<TenantsConfig> DecodeFile(const v1::ConfigFile& message) {
  TenantsConfig config;
  if (message.has_default_tenant()) {
    QUIRE_ASSIGN_OR_RETURN(config.default_tenant, DecodeDefault(message.default_tenant()));
  }
  std::set<std::string> names = {kDefaultTenantName};
  for (int i = 0; i < message.tenants_size(); ++i) {
    const std::string entry = absl::StrCat("tenants[", i, "]");
    QUIRE_ASSIGN_OR_RETURN(TenantSettings tenant, DecodeTenant(entry, message.tenants(i)));
    if (!names.insert(tenant.policy.name).second) {
      return Invalid(entry, absl::StrCat("the name '", tenant.policy.name,
                                         "' is taken; each has its own, and '", kDefaultTenantName,
                                         "' is the default tenant's"));
    }
    config.tenants.push_back(std::move(tenant));
  }
  QUIRE_ASSIGN_OR_RETURN(config.credentials, MakeCredentials(message, config.tenants));
  if (message.has_admin()) {
    QUIRE_ASSIGN_OR_RETURN(config.admins, MakeAdmins(message.admin()));
  }
  QUIRE_RETURN_IF_ERROR(CheckSomebodyMayCall(config));
  return config;
}

// An error of syntax ends with a caret on a line of its own, under the text around the place; one
// of a field names the field.
bool RemoveCaret(std::string* what) {
  const size_t line = what->rfind('\n');
  if (line == std::string::npos) return false;
  if (absl::StripAsciiWhitespace(absl::string_view(*what).substr(line)) != "^") return false;
  what->resize(line);
  return true;
}

// The line where it stops being JSON, which protobuf does not tell.
std::string PlaceOfSyntaxError(const std::string& json) {
  try {
    [[maybe_unused]] const auto parsed = nlohmann::json::parse(json);
  } catch (const nlohmann::json::parse_error& error) {
    const auto read = static_cast<ptrdiff_t>(std::min(error.byte, json.size()));
    return absl::StrCat("line ", 1 + std::count(json.begin(), json.begin() + read, '\n'), ": ");
  }
  return "";
}

}  // namespace

absl::StatusOr<TenantsConfig> ParseTenantFile(const std::string& json) {
  v1::ConfigFile message;
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, &message);
  if (parsed.ok()) return DecodeFile(message);
  std::string what = parsed.message().ToString();
  if (RemoveCaret(&what)) what = absl::StrCat(PlaceOfSyntaxError(json), what);
  if (absl::StrContains(what, "Cannot find field")) {
    absl::StrAppend(&what, " proto/quire/v1/config.proto lists those there are");
  }
  return Invalid("not a config file", absl::StrReplaceAll(what, {{"\n", " "}}));
}

absl::StatusOr<TenantsConfig> LoadTenantFile(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const std::string json, ReadSmallFile(path, kMaxFileBytes));
  absl::StatusOr<TenantsConfig> config = ParseTenantFile(json);
  if (!config.ok()) return Invalid(path, config.status().message());
  return config;
}

v1::TenantConfig EncodeTenant(const TenantSettings& tenant) {
  const TenantPolicy& policy = tenant.policy;
  v1::TenantConfig message;
  message.set_name(policy.name);
  message.set_weight(policy.weight);
  const auto set = [&message](auto setter, auto value) {
    if (value > 0) (message.*setter)(value);
  };
  set(&v1::TenantConfig::set_max_priority, policy.max_priority);
  set(&v1::TenantConfig::set_max_running, policy.max_running);
  set(&v1::TenantConfig::set_max_queued, policy.max_queued);
  set(&v1::TenantConfig::set_max_queued_tokens, policy.max_queued_tokens);
  set(&v1::TenantConfig::set_tokens_per_second, policy.tokens_per_second);
  set(&v1::TenantConfig::set_burst_tokens, policy.burst_tokens);
  if (policy.kv_reserved_bytes > 0) message.set_kv_reserved(absl::StrCat(policy.kv_reserved_bytes));
  if (policy.kv_limit_bytes > 0) message.set_kv_limit(absl::StrCat(policy.kv_limit_bytes));
  if (policy.prefix_floor_bytes > 0) {
    message.set_prefix_cache_floor(absl::StrCat(policy.prefix_floor_bytes));
  }
  if (policy.prefix_ceiling_bytes > 0) {
    message.set_prefix_cache_ceiling(absl::StrCat(policy.prefix_ceiling_bytes));
  }
  if (!policy.sharing_group.empty()) message.set_sharing_group(policy.sharing_group);
  set(&v1::TenantConfig::set_max_context_tokens, tenant.max_context_tokens);
  set(&v1::TenantConfig::set_max_output_tokens, tenant.max_output_tokens);
  for (const ApiKeyHash& key : tenant.api_keys) message.add_api_keys()->set_id(key.id);
  for (const std::string& name : tenant.certificate_names) message.add_certificate_names(name);
  return message;
}

}  // namespace quire::server
