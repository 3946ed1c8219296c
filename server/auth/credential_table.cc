#include "server/auth/credential_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "server/metadata_text.h"

namespace quire::server {
namespace {

constexpr size_t kMaxCertificateNameBytes = 2048;
constexpr char kForwarder[] = "";  // no tenant's name

absl::Status Unauthenticated(const char* reason, absl::string_view message) {
  return Refuse(absl::StatusCode::kUnauthenticated, message, {.reason = reason});
}

std::string QuotedName(absl::string_view name) {
  return Quoted(std::string_view(name.data(), name.size()));
}

}  // namespace

absl::StatusOr<std::string> NormalCertificateName(absl::string_view name) {
  const bool is_text = name.size() <= kMaxCertificateNameBytes &&
                       IsMetadataText(std::string_view(name.data(), name.size()));
  absl::string_view dns = name;
  if (is_text && absl::ConsumePrefix(&dns, "dns:") && !dns.empty()) {
    return absl::AsciiStrToLower(name);
  }
  const size_t scheme = name.find("://");
  if (is_text && scheme != absl::string_view::npos && scheme > 0) return std::string(name);
  return absl::InvalidArgumentError(absl::StrCat("certificate_names: ", QuotedName(name),
                                                 " must be \"dns:NAME\" or a URI such ",
                                                 "as \"spiffe://cluster/ns/shop/sa/web\""));
}

absl::Status CredentialTable::AddKey(ApiKeyHash key, const std::string& owner) {
  if (!IsApiKeyId(key.id)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "api_keys: the id ", QuotedName(key.id), " must be 1 to 64 letters, digits, '-' and '_'"));
  }
  std::string id = key.id;
  const auto [it, is_new] = keys_.try_emplace(std::move(id), KeyOwner{std::move(key), owner});
  if (is_new) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("api_keys: the id ", QuotedName(it->first), " is taken; each has its own"));
}

absl::Status CredentialTable::AddCertificate(absl::string_view name, const std::string& owner) {
  QUIRE_ASSIGN_OR_RETURN(std::string normal, NormalCertificateName(name));
  const auto [it, is_new] = certificates_.try_emplace(std::move(normal), owner);
  if (is_new) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("certificate_names: ", QuotedName(it->first), " is there twice"));
}

absl::Status CredentialTable::AddForwarder(absl::string_view certificate_name) {
  return AddCertificate(certificate_name, kForwarder);
}

absl::StatusOr<std::optional<Identity>> CredentialTable::Identify(const CallCredentials& call,
                                                                  absl::Time now) const {
  if (empty()) return std::nullopt;
  const std::vector<absl::string_view> authorization = call.metadata("authorization");
  if (authorization.size() > 1) {
    return Unauthenticated("CREDENTIALS_AMBIGUOUS",
                           "the call has more than one authorization; it must have one");
  }
  if (!authorization.empty()) return OwnerOfBearer(authorization[0], now);
  if (certificates_.empty()) return std::nullopt;
  const std::string* owner = nullptr;
  for (const std::string& name : call.certificate_names()) {
    const absl::StatusOr<std::string> normal = NormalCertificateName(name);
    const auto it = normal.ok() ? certificates_.find(*normal) : certificates_.end();
    if (it == certificates_.end()) continue;
    if (owner != nullptr && *owner != it->second) {
      return Unauthenticated("CREDENTIALS_AMBIGUOUS",
                             "the client certificate has names of more than one tenant");
    }
    owner = &it->second;
  }
  if (owner == nullptr) return std::nullopt;
  if (*owner == kForwarder) return NamedByForwarder(call);
  return Identity{.owner = *owner};
}

absl::StatusOr<Identity> CredentialTable::OwnerOfBearer(absl::string_view bearer,
                                                        absl::Time now) const {
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(bearer, kScheme)) {
    return Unauthenticated("CREDENTIALS_UNKNOWN",
                           "authorization must be \"Bearer\" with an API key or a token");
  }
  bearer = absl::StripAsciiWhitespace(bearer.substr(kScheme.size()));
  if (tokens_ != nullptr && std::count(bearer.begin(), bearer.end(), '.') == 2) {
    QUIRE_ASSIGN_OR_RETURN(std::string tenant, tokens_->TenantOf(bearer, now));
    return Identity{.owner = std::move(tenant)};
  }
  const size_t dot = bearer.find('.');
  const auto it = keys_.find(bearer.substr(0, dot));
  const bool has_secret = dot != absl::string_view::npos;
  if (it == keys_.end() || !has_secret || !HasSecret(it->second.key, bearer.substr(dot + 1))) {
    return Unauthenticated("API_KEY_UNKNOWN", "the API key is not valid here");
  }
  return Identity{.owner = it->second.owner, .key_id = it->first};
}

absl::StatusOr<Identity> CredentialTable::NamedByForwarder(const CallCredentials& call) const {
  const std::vector<absl::string_view> names = call.metadata(forwarder_header_);
  if (names.size() == 1 && !names[0].empty()) {
    return Identity{.owner = std::string(names[0])};
  }
  return Unauthenticated(
      names.size() > 1 ? "CREDENTIALS_AMBIGUOUS" : "TENANT_MISSING",
      absl::StrCat("a trusted forwarder has to say whose each call is, with one ",
                   forwarder_header_, "; this one has ", names.size()));
}

}  // namespace quire::server
