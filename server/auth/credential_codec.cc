#include "server/auth/credential_codec.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "server/metadata_text.h"

namespace quire::server {
namespace {

constexpr size_t kMaxKeySetBytes = 1 << 20;
constexpr int32_t kMaxClockSkewSeconds = 600;
constexpr char kDefaultTenantHeader[] = "x-quire-tenant";

absl::Status In(absl::string_view field, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", status.message()));
}

absl::StatusOr<ApiKeyHash> DecodeKey(const v1::ApiKey& message) {
  const absl::StatusOr<Sha256> hash = ParseSha256(message.sha256());
  if (!hash.ok()) {
    return In(absl::StrCat("api_keys: ", absl::Utf8SafeCHexEscape(message.id())), hash.status());
  }
  return ApiKeyHash{.id = message.id(), .sha256 = *hash};
}

absl::Status AddForwarders(const v1::TrustedForwarders& message, CredentialTable* table) {
  if (message.certificate_names_size() == 0) {
    return absl::InvalidArgumentError("certificate_names is empty; nobody would be trusted");
  }
  for (const std::string& name : message.certificate_names()) {
    QUIRE_RETURN_IF_ERROR(table->AddForwarder(name));
  }
  const std::string header =
      message.has_tenant_header() ? message.tenant_header() : kDefaultTenantHeader;
  if (!IsMetadataKey(header) || header == "authorization") {
    return absl::InvalidArgumentError(absl::StrCat("tenant_header is '",
                                                   absl::Utf8SafeCHexEscape(header),
                                                   "'; it must be ", kMetadataKeyRule));
  }
  table->SetForwarderHeader(header);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const TokenVerifier>> MakeTokens(const v1::TokenConfig& message) {
  TokenSettings settings;
  settings.issuer = message.issuer();
  settings.audience = message.audience();
  const std::pair<const char*, const std::string*> required[] = {
      {"key_set_file", &message.key_set_file()},
      {"issuer", &settings.issuer},
      {"audience", &settings.audience},
  };
  for (const auto& [field, value] : required) {
    if (value->empty()) return absl::InvalidArgumentError(absl::StrCat(field, " is missing"));
  }
  if (message.has_tenant_claim()) settings.tenant_claim = message.tenant_claim();
  if (message.has_clock_skew_seconds()) {
    const int32_t seconds = message.clock_skew_seconds();
    if (seconds < 0 || seconds > kMaxClockSkewSeconds) {
      return absl::InvalidArgumentError(absl::StrCat("clock_skew_seconds is ", seconds,
                                                     "; it must be 0 to ", kMaxClockSkewSeconds));
    }
    settings.clock_skew = absl::Seconds(seconds);
  }
  absl::StatusOr<std::string> key_set = ReadSmallFile(message.key_set_file(), kMaxKeySetBytes);
  if (!key_set.ok()) return In("key_set_file", key_set.status());
  settings.key_set = *std::move(key_set);
  absl::StatusOr<std::unique_ptr<const TokenVerifier>> verifier = TokenVerifier::Create(settings);
  if (!verifier.ok()) return In(message.key_set_file(), verifier.status());
  return *std::move(verifier);
}

}  // namespace

absl::Status DecodeCredentials(const v1::TenantConfig& message, TenantSettings* tenant) {
  for (const v1::ApiKey& key : message.api_keys()) {
    QUIRE_ASSIGN_OR_RETURN(tenant->api_keys.emplace_back(), DecodeKey(key));
  }
  for (const std::string& name : message.certificate_names()) {
    QUIRE_ASSIGN_OR_RETURN(tenant->certificate_names.emplace_back(), NormalCertificateName(name));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const CredentialTable>> MakeCredentials(
    const v1::ConfigFile& message, const std::vector<TenantSettings>& tenants) {
  auto table = std::make_shared<CredentialTable>();
  for (const TenantSettings& tenant : tenants) {
    for (const ApiKeyHash& key : tenant.api_keys) {
      QUIRE_RETURN_IF_ERROR(table->AddKey(key, tenant.policy.name));
    }
    for (const std::string& name : tenant.certificate_names) {
      QUIRE_RETURN_IF_ERROR(table->AddCertificate(name, tenant.policy.name));
    }
  }
  if (message.has_trusted_forwarders()) {
    QUIRE_RETURN_IF_ERROR(
        In("trusted_forwarders", AddForwarders(message.trusted_forwarders(), table.get())));
  }
  if (message.has_tokens()) {
    absl::StatusOr<std::shared_ptr<const TokenVerifier>> tokens = MakeTokens(message.tokens());
    if (!tokens.ok()) return In("tokens", tokens.status());
    table->SetTokens(*std::move(tokens));
  }
  return table;
}

absl::StatusOr<std::shared_ptr<const CredentialTable>> MakeAdmins(const v1::AdminConfig& message) {
  auto table = std::make_shared<CredentialTable>();
  for (const v1::ApiKey& message_key : message.api_keys()) {
    absl::StatusOr<ApiKeyHash> key = DecodeKey(message_key);
    if (!key.ok()) return In("admin", key.status());
    QUIRE_RETURN_IF_ERROR(In("admin", table->AddKey(*std::move(key), "admin")));
  }
  for (const std::string& name : message.certificate_names()) {
    QUIRE_RETURN_IF_ERROR(In("admin", table->AddCertificate(name, "admin")));
  }
  if (table->empty()) {
    return absl::InvalidArgumentError(
        "admin: nobody could call; name api_keys or certificate_names, or leave it out");
  }
  return table;
}

}  // namespace quire::server
