#include "server/auth/token_verifier.h"

#include <cjose/cjose.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"

namespace quire::server {
namespace {

using Json = nlohmann::json;

// Longer ones cost time before anything about them is known.
constexpr size_t kMaxTokenBytes = 8 << 10;
constexpr const char* kRsaAlgorithms[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};
constexpr const char* kEcAlgorithms[] = {"ES256", "ES384", "ES512"};

template <auto kRelease>
struct Releaser {
  template <typename T>
  void operator()(T* object) const {
    kRelease(object);
  }
};
using JwkPtr = std::unique_ptr<cjose_jwk_t, Releaser<cjose_jwk_release>>;
using JwsPtr = std::unique_ptr<cjose_jws_t, Releaser<cjose_jws_release>>;

absl::Status Invalid(absl::string_view what) {
  return Refuse(absl::StatusCode::kUnauthenticated,
                absl::StrCat("the bearer token is not valid here: ", what),
                {.reason = "TOKEN_INVALID"});
}

bool IsIn(const auto& names, absl::string_view name) {
  return std::any_of(std::begin(names), std::end(names),
                     [&](const char* known) { return name == known; });
}

// Null where `json` is neither an object nor has a string of that name.
const std::string* StringOf(const Json& json, const std::string& name) {
  const auto it = json.find(name);
  return it == json.end() ? nullptr : it->get_ptr<const std::string*>();
}

// Seconds since 1970; nullopt where there is no such number.
std::optional<absl::Time> TimeOf(const Json& claims, const char* name) {
  const auto it = claims.find(name);
  if (it == claims.end() || !it->is_number()) return std::nullopt;
  return absl::UnixEpoch() + absl::Seconds(it->get<double>());
}

bool HasAudience(const Json& claims, const std::string& audience) {
  const auto it = claims.find("aud");
  if (it == claims.end()) return false;
  if (it->is_array()) return std::find(it->begin(), it->end(), audience) != it->end();
  return *it == audience;
}

}  // namespace

struct TokenVerifier::Key {
  std::string id;         // kid; may be empty
  std::string algorithm;  // alg; empty: all of its kind
  bool is_rsa = false;
  JwkPtr jwk;

  bool Takes(absl::string_view wanted) const {
    if (!algorithm.empty() && wanted != algorithm) return false;
    return is_rsa ? IsIn(kRsaAlgorithms, wanted) : IsIn(kEcAlgorithms, wanted);
  }
};

TokenVerifier::TokenVerifier(const TokenSettings& settings) : settings_(settings) {}
TokenVerifier::~TokenVerifier() = default;

absl::StatusOr<std::unique_ptr<const TokenVerifier>> TokenVerifier::Create(
    const TokenSettings& settings) {
  std::unique_ptr<TokenVerifier> verifier(new TokenVerifier(settings));
  const Json set = Json::parse(settings.key_set, nullptr, /*allow_exceptions=*/false);
  const auto keys = set.is_object() ? set.find("keys") : set.end();
  if (keys == set.end() || !keys->is_array()) {
    return absl::InvalidArgumentError("not a JSON Web Key Set: {\"keys\": [...]}");
  }
  for (const Json& key : *keys) {
    const std::string* use = StringOf(key, "use");
    if (use == nullptr || *use == "sig") QUIRE_RETURN_IF_ERROR(verifier->AddKey(key.dump()));
  }
  if (verifier->keys_.empty()) {
    return absl::InvalidArgumentError("the key set has no RSA or EC key for signatures");
  }
  return verifier;
}

absl::Status TokenVerifier::AddKey(const std::string& json) {
  cjose_err error;
  Key key;
  key.jwk.reset(cjose_jwk_import(json.data(), json.size(), &error));
  if (key.jwk == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("key ", keys_.size(), " of the key set cannot be read: ", error.message));
  }
  const cjose_jwk_kty_t kind = cjose_jwk_get_kty(key.jwk.get(), &error);
  // A secret that is shared with the issuer could also make tokens.
  if (kind != CJOSE_JWK_KTY_RSA && kind != CJOSE_JWK_KTY_EC) return absl::OkStatus();
  const Json fields = Json::parse(json);
  if (const std::string* id = StringOf(fields, "kid")) key.id = *id;
  if (const std::string* algorithm = StringOf(fields, "alg")) key.algorithm = *algorithm;
  key.is_rsa = kind == CJOSE_JWK_KTY_RSA;
  keys_.push_back(std::move(key));
  return absl::OkStatus();
}

const TokenVerifier::Key* TokenVerifier::Find(absl::string_view id,
                                              absl::string_view algorithm) const {
  const auto it = std::find_if(keys_.begin(), keys_.end(), [&](const Key& key) {
    return (id.empty() || id == key.id) && key.Takes(algorithm);
  });
  return it == keys_.end() ? nullptr : &*it;
}

absl::StatusOr<std::string> TokenVerifier::VerifiedClaims(absl::string_view token) const {
  cjose_err error;
  const JwsPtr jws(cjose_jws_import(token.data(), token.size(), &error));
  if (jws == nullptr) return Invalid("it is not a signed JSON Web Token");
  cjose_header_t* const header = cjose_jws_get_protected(jws.get());
  // Extensions that whoever does not know them has to refuse (RFC 7515, section 4.1.11).
  if (char* const critical = cjose_header_get_raw(header, "crit", &error); critical != nullptr) {
    std::free(critical);  // NOLINT(cppcoreguidelines-no-malloc): the library's
    return Invalid("it has extensions (crit)");
  }
  const char* const algorithm = cjose_header_get(header, CJOSE_HDR_ALG, &error);
  const char* const id = cjose_header_get(header, CJOSE_HDR_KID, &error);
  const Key* const key = Find(id == nullptr ? "" : id, algorithm == nullptr ? "" : algorithm);
  if (key == nullptr) return Invalid("no key of the key set is for its kid and alg");
  if (!cjose_jws_verify(jws.get(), key->jwk.get(), &error)) {
    return Invalid("its signature does not match");
  }
  uint8_t* text = nullptr;
  size_t size = 0;
  if (!cjose_jws_get_plaintext(jws.get(), &text, &size, &error)) return Invalid("it is empty");
  return std::string(reinterpret_cast<const char*>(text), size);
}

absl::StatusOr<std::string> TokenVerifier::TenantOf(absl::string_view token, absl::Time now) const {
  if (token.size() > kMaxTokenBytes) return Invalid("it is longer than 8 KiB");
  QUIRE_ASSIGN_OR_RETURN(const std::string text, VerifiedClaims(token));
  const Json claims = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!claims.is_object()) return Invalid("its claims are no JSON object");
  const std::string* const issuer = StringOf(claims, "iss");
  if (issuer == nullptr || *issuer != settings_.issuer) return Invalid("iss is another issuer");
  if (!HasAudience(claims, settings_.audience)) return Invalid("aud is another audience");
  const std::optional<absl::Time> expires = TimeOf(claims, "exp");
  if (!expires.has_value()) return Invalid("it has no exp");
  if (*expires + settings_.clock_skew <= now) {
    return Refuse(absl::StatusCode::kUnauthenticated,
                  absl::StrCat("the bearer token has expired at ",
                               absl::FormatTime(*expires, absl::UTCTimeZone())),
                  {.reason = "TOKEN_EXPIRED"});
  }
  const std::optional<absl::Time> begins = TimeOf(claims, "nbf");
  if (begins.has_value() && *begins - settings_.clock_skew > now) {
    return Invalid("its nbf is in the future");
  }
  const std::string* const tenant = StringOf(claims, settings_.tenant_claim);
  if (tenant == nullptr || tenant->empty()) {
    return Invalid(absl::StrCat("it has no ", settings_.tenant_claim));
  }
  return *tenant;
}

}  // namespace quire::server
