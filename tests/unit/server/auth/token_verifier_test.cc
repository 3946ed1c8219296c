#include "server/auth/token_verifier.h"

#include <cjose/cjose.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/refusal.h"

namespace quire::server {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

constexpr int64_t kNow = 1'800'000'000;

// A private key of the issuer's.
class SigningKey {
 public:
  explicit SigningKey(cjose_jwk_t* jwk) : jwk_(jwk) { QUIRE_CHECK(jwk != nullptr); }
  static SigningKey Rsa() { return SigningKey(cjose_jwk_create_RSA_random(2048, kE, 3, nullptr)); }
  static SigningKey Ec() {
    return SigningKey(cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, nullptr));
  }
  SigningKey(SigningKey&& other) noexcept : jwk_(std::exchange(other.jwk_, nullptr)) {}
  ~SigningKey() { cjose_jwk_release(jwk_); }

  // As a key set has it, with some more fields.
  Json Public(const Json& fields) const {
    char* const text = cjose_jwk_to_json(jwk_, /*priv=*/false, nullptr);
    Json json = Json::parse(text);
    std::free(text);  // NOLINT(cppcoreguidelines-no-malloc): the library's
    json.update(fields);
    return json;
  }

  std::string Sign(const Json& header, const std::string& payload) const {
    cjose_header_t* const fields = cjose_header_new(nullptr);
    for (const auto& [name, value] : header.items()) {
      if (value.is_string()) {
        cjose_header_set(fields, name.c_str(), value.get<std::string>().c_str(), nullptr);
      } else {
        cjose_header_set_raw(fields, name.c_str(), value.dump().c_str(), nullptr);
      }
    }
    cjose_jws_t* const jws = cjose_jws_sign(
        jwk_, fields, reinterpret_cast<const uint8_t*>(payload.data()), payload.size(), nullptr);
    QUIRE_CHECK(jws != nullptr);
    const char* text = nullptr;
    QUIRE_CHECK(cjose_jws_export(jws, &text, nullptr));
    std::string token = text;
    cjose_jws_release(jws);
    cjose_header_release(fields);
    return token;
  }

 private:
  static constexpr const uint8_t kE[] = {1, 0, 1};
  cjose_jwk_t* jwk_;
};

class TokenVerifierTest : public ::testing::Test {
 protected:
  TokenVerifierTest() {
    settings_.key_set = Json{{"keys",
                              {rsa_.Public({{"kid", "r"}, {"alg", "RS256"}}),
                               ec_.Public({{"kid", "e"}, {"use", "sig"}})}}}
                            .dump();
    settings_.issuer = "https://issuer";
    settings_.audience = "quire";
  }

  static Json Claims() {
    return {{"iss", "https://issuer"}, {"aud", "quire"}, {"exp", kNow + 60}, {"sub", "acme"}};
  }
  static Json With(const char* name, const Json& value) {
    Json claims = Claims();
    if (value.is_null()) {
      claims.erase(name);
    } else {
      claims[name] = value;
    }
    return claims;
  }

  absl::StatusOr<std::string> TenantOf(const std::string& token) const {
    const auto verifier = TokenVerifier::Create(settings_);
    QUIRE_CHECK(verifier.ok()) << verifier.status();
    return (*verifier)->TenantOf(token, absl::FromUnixSeconds(kNow));
  }
  absl::StatusOr<std::string> TenantOf(const Json& claims) const {
    return TenantOf(ec_.Sign({{"alg", "ES256"}, {"kid", "e"}}, claims.dump()));
  }

  static void ExpectRefused(const absl::StatusOr<std::string>& tenant, const char* part,
                            const char* reason = "TOKEN_INVALID") {
    EXPECT_EQ(tenant.status().code(), absl::StatusCode::kUnauthenticated) << part;
    EXPECT_THAT(std::string(tenant.status().message()), HasSubstr(part));
    const std::optional<Refusal> refusal = RefusalOf(tenant.status());
    EXPECT_EQ(refusal.has_value() ? refusal->reason : "", reason);
  }

  const SigningKey rsa_ = SigningKey::Rsa();
  const SigningKey ec_ = SigningKey::Ec();
  TokenSettings settings_;
};

TEST_F(TokenVerifierTest, ASignedTokenNamesItsTenant) {
  EXPECT_EQ(*TenantOf(Claims()), "acme");
  EXPECT_EQ(*TenantOf(rsa_.Sign({{"alg", "RS256"}, {"kid", "r"}}, Claims().dump())), "acme");
  EXPECT_EQ(*TenantOf(ec_.Sign({{"alg", "ES256"}}, Claims().dump())), "acme") << "without a kid";
  EXPECT_EQ(*TenantOf(With("aud", {"other", "quire"})), "acme");
  settings_.tenant_claim = "org";
  EXPECT_EQ(*TenantOf(With("org", "shop")), "shop");
}

TEST_F(TokenVerifierTest, ClaimsThatDoNotFitAreNamed) {
  ExpectRefused(TenantOf(With("iss", "https://other")), "iss is another issuer");
  ExpectRefused(TenantOf(With("iss", nullptr)), "iss");
  ExpectRefused(TenantOf(With("aud", "quire2")), "aud is another audience");
  ExpectRefused(TenantOf(With("aud", nullptr)), "aud");
  ExpectRefused(TenantOf(With("aud", {{"quire", 1}})), "aud");
  ExpectRefused(TenantOf(With("exp", nullptr)), "it has no exp");
  ExpectRefused(TenantOf(With("exp", "soon")), "it has no exp");
  ExpectRefused(TenantOf(With("sub", nullptr)), "it has no sub");
  ExpectRefused(TenantOf(With("sub", "")), "it has no sub");
  ExpectRefused(TenantOf(With("sub", 5)), "it has no sub");
  ExpectRefused(TenantOf(ec_.Sign({{"alg", "ES256"}}, "[]")), "no JSON object");
  ExpectRefused(TenantOf(ec_.Sign({{"alg", "ES256"}}, "{")), "no JSON object");
}

TEST_F(TokenVerifierTest, TimesAreKeptButForTheSkewOfClocks) {
  EXPECT_TRUE(TenantOf(With("exp", kNow - 29)).ok());
  ExpectRefused(TenantOf(With("exp", kNow - 30)), "has expired at 2027-01-15", "TOKEN_EXPIRED");
  ExpectRefused(TenantOf(With("exp", -1e300)), "has expired", "TOKEN_EXPIRED");
  EXPECT_TRUE(TenantOf(With("exp", 1e300)).ok());
  EXPECT_TRUE(TenantOf(With("nbf", kNow + 30)).ok());
  ExpectRefused(TenantOf(With("nbf", kNow + 31)), "nbf is in the future");
}

TEST_F(TokenVerifierTest, TheKeySetDecidesWhichSignaturesThereAre) {
  const SigningKey stranger = SigningKey::Ec();
  ExpectRefused(TenantOf(stranger.Sign({{"alg", "ES256"}, {"kid", "e"}}, Claims().dump())),
                "signature does not match");
  ExpectRefused(TenantOf(ec_.Sign({{"alg", "ES256"}, {"kid", "x"}}, Claims().dump())),
                "no key of the key set");
  ExpectRefused(TenantOf(rsa_.Sign({{"alg", "PS256"}, {"kid", "r"}}, Claims().dump())),
                "no key of the key set");
  // What everybody knows of the RSA key, taken for a shared secret.
  const std::string known = rsa_.Public(Json::object()).dump();
  const SigningKey forged(cjose_jwk_create_oct_spec(reinterpret_cast<const uint8_t*>(known.data()),
                                                    known.size(), nullptr));
  ExpectRefused(TenantOf(forged.Sign({{"alg", "HS256"}, {"kid", "r"}}, Claims().dump())),
                "no key of the key set");
  const std::string none = absl::StrCat(absl::WebSafeBase64Escape(R"({"alg":"none"})"), ".",
                                        absl::WebSafeBase64Escape(Claims().dump()), ".");
  ExpectRefused(TenantOf(none), "is not valid here");
}

TEST_F(TokenVerifierTest, ExtensionsThatMustBeKnownAreRefused) {
  const Json header = {{"alg", "ES256"}, {"crit", {"b64"}}, {"b64", "x"}};
  ExpectRefused(TenantOf(ec_.Sign(header, Claims().dump())), "extensions");
}

TEST_F(TokenVerifierTest, AnyOtherTextIsRefused) {
  const std::string token = ec_.Sign({{"alg", "ES256"}, {"kid", "e"}}, Claims().dump());
  for (size_t i = 0; i < token.size(); i += 3) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(TenantOf(changed).status().code(), absl::StatusCode::kUnauthenticated) << changed;
  }
  for (const std::string& text : {std::string(".."), std::string("a.b.c"), std::string("...."),
                                  std::string("e30.e30."), std::string("\xff.\xff.\xff")}) {
    ExpectRefused(TenantOf(text), "is not valid here");
  }
  ExpectRefused(TenantOf(std::string(9000, 'a')), "longer than 8 KiB");
}

TEST_F(TokenVerifierTest, AKeySetHasAKeyThatIsFit) {
  const auto error = [](const std::string& key_set) {
    TokenSettings settings;
    settings.key_set = key_set;
    return std::string(TokenVerifier::Create(settings).status().message());
  };
  EXPECT_THAT(error(""), HasSubstr("not a JSON Web Key Set"));
  EXPECT_THAT(error("[]"), HasSubstr("not a JSON Web Key Set"));
  EXPECT_THAT(error(R"({"keys": {}})"), HasSubstr("not a JSON Web Key Set"));
  EXPECT_THAT(error(R"({"keys": []})"), HasSubstr("no RSA or EC key"));
  EXPECT_THAT(error(R"({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})"),
              HasSubstr("no RSA or EC key"));
  EXPECT_THAT(error(R"({"keys": [5]})"), HasSubstr("key 0 of the key set cannot be read"));
  EXPECT_THAT(error(R"({"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]})"),
              HasSubstr("key 0 of the key set cannot be read"));
  EXPECT_THAT(error(Json{{"keys", {rsa_.Public({{"use", "enc"}})}}}.dump()),
              HasSubstr("no RSA or EC key"));
}

}  // namespace
}  // namespace quire::server
