#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quire::server {

// Which tokens of an identity provider are good here. Plain data.
struct TokenSettings {
  std::string key_set;  // a JSON Web Key Set
  std::string issuer;
  std::string audience;
  std::string tenant_claim = "sub";
  absl::Duration clock_skew = absl::Seconds(30);
};

// Checks JSON Web Tokens (RFC 7519) against a key set at hand. Only signatures that take a private
// key to make are accepted (RS*, PS*, ES*), and of each key only its own kind: what is in the
// token's header chooses among these and nothing else. Immutable; any thread.
class TokenVerifier {
 public:
  // InvalidArgument: the key set is none, or has no key that is fit.
  static absl::StatusOr<std::unique_ptr<const TokenVerifier>> Create(const TokenSettings& settings);
  ~TokenVerifier();

  // The tenant that a token names at the time `now`. Unauthenticated, with a reason for programs:
  //   TOKEN_EXPIRED   it was good once
  //   TOKEN_INVALID   everything else, with what is wrong with it
  absl::StatusOr<std::string> TenantOf(absl::string_view token, absl::Time now) const;

 private:
  struct Key;

  explicit TokenVerifier(const TokenSettings& settings);
  absl::Status AddKey(const std::string& json);
  absl::StatusOr<std::string> VerifiedClaims(absl::string_view token) const;
  const Key* Find(absl::string_view id, absl::string_view algorithm) const;

  const TokenSettings settings_;
  std::vector<Key> keys_;
};

}  // namespace quire::server
