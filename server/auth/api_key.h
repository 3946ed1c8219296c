#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::server {

using Sha256 = std::array<uint8_t, 32>;

// What is kept of an API key: enough to recognize it, not to use it.
struct ApiKeyHash {
  std::string id;
  Sha256 sha256{};  // of the secret

  friend bool operator==(const ApiKeyHash&, const ApiKeyHash&) = default;
};

// 1 to 64 letters, digits, '-' and '_'.
bool IsApiKeyId(absl::string_view id);

// Exactly 64 hexadecimal digits; InvalidArgument otherwise.
absl::StatusOr<Sha256> ParseSha256(absl::string_view hex);
std::string ToHex(const Sha256& hash);

// Takes as long for any secret of the same length.
bool HasSecret(const ApiKeyHash& key, absl::string_view secret);

struct NewApiKey {
  std::string bearer;  // ID.SECRET, which only its user is to have
  ApiKeyHash hash;
};
// With a secret of 32 random bytes, so a plain hash of it tells nothing. `id` is valid.
NewApiKey MakeApiKey(const std::string& id);

}  // namespace quire::server
