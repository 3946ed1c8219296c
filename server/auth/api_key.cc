#include "server/auth/api_key.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire::server {
namespace {

constexpr size_t kMaxIdBytes = 64;

Sha256 HashOf(absl::string_view text) {
  Sha256 hash;
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), hash.data());
  return hash;
}

}  // namespace

bool IsApiKeyId(absl::string_view id) {
  return !id.empty() && id.size() <= kMaxIdBytes && std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
}

absl::StatusOr<Sha256> ParseSha256(absl::string_view hex) {
  Sha256 hash;
  const bool legal =
      hex.size() == 2 * hash.size() &&
      std::all_of(hex.begin(), hex.end(), [](unsigned char c) { return absl::ascii_isxdigit(c); });
  if (!legal) {
    return absl::InvalidArgumentError(
        "sha256 must be 64 hexadecimal digits, as `quire auth new-key` prints them");
  }
  const std::string bytes = absl::HexStringToBytes(hex);
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

std::string ToHex(const Sha256& hash) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(hash.data()), hash.size()));
}

bool HasSecret(const ApiKeyHash& key, absl::string_view secret) {
  const Sha256 hash = HashOf(secret);
  return CRYPTO_memcmp(hash.data(), key.sha256.data(), hash.size()) == 0;
}

NewApiKey MakeApiKey(const std::string& id) {
  std::string bytes(32, '\0');
  QUIRE_CHECK(
      RAND_bytes(reinterpret_cast<uint8_t*>(bytes.data()), static_cast<int>(bytes.size())) == 1)
      << "the system has no random numbers";
  std::string secret = absl::WebSafeBase64Escape(bytes);
  secret.erase(secret.find_last_not_of('=') + 1);
  return {.bearer = absl::StrCat(id, ".", secret), .hash = {.id = id, .sha256 = HashOf(secret)}};
}

}  // namespace quire::server
