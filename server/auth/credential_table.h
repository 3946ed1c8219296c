#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/auth/api_key.h"
#include "server/auth/token_verifier.h"

namespace quire::server {

// What one call shows of who makes it. Both are asked for nothing that is not needed.
struct CallCredentials {
  // What the call has under a metadata key.
  absl::FunctionRef<std::vector<absl::string_view>(absl::string_view key)> metadata;
  // Of the verified certificate of the connection's client: URIs, and "dns:" before other names.
  absl::FunctionRef<std::vector<std::string>()> certificate_names;
};

// Who a call has proved to come from.
struct Identity {
  std::string owner;        // known here or not, where a token or a forwarder names it
  std::string key_id = {};  // of the API key, where it was one
};

// A name that a certificate may have: "dns:NAME", or a URI. As it is compared: DNS names do not
// tell upper from lower case. InvalidArgument for anything else.
absl::StatusOr<std::string> NormalCertificateName(absl::string_view name);

// Who proves what to be: the owners, tenants or other, of API keys and certificates, and whom to
// believe. Filled once, then immutable and for any thread.
class CredentialTable {
 public:
  // InvalidArgument, each: the credential is somebody's already, or not well formed.
  absl::Status AddKey(ApiKeyHash key, const std::string& owner);
  absl::Status AddCertificate(absl::string_view name, const std::string& owner);
  // Whoever has such a certificate names the owner under `header`.
  absl::Status AddForwarder(absl::string_view certificate_name);
  void SetForwarderHeader(std::string header) { forwarder_header_ = std::move(header); }
  void SetTokens(std::shared_ptr<const TokenVerifier> tokens) { tokens_ = std::move(tokens); }

  // Nobody can prove anything.
  bool empty() const { return keys_.empty() && certificates_.empty() && tokens_ == nullptr; }

  // Nullopt where the call shows nothing. The order is proto/quire/v1/config.proto's.
  // Unauthenticated, with a reason for programs, where what it shows does not hold.
  absl::StatusOr<std::optional<Identity>> Identify(const CallCredentials& call,
                                                   absl::Time now) const;

 private:
  struct KeyOwner {
    ApiKeyHash key;
    std::string owner;
  };

  absl::StatusOr<Identity> OwnerOfBearer(absl::string_view bearer, absl::Time now) const;
  absl::StatusOr<Identity> NamedByForwarder(const CallCredentials& call) const;

  absl::flat_hash_map<std::string, KeyOwner> keys_;             // by id
  absl::flat_hash_map<std::string, std::string> certificates_;  // owner by name; forwarders: ""
  std::string forwarder_header_;
  std::shared_ptr<const TokenVerifier> tokens_;
};

}  // namespace quire::server
