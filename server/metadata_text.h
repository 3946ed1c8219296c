#pragma once

#include <cstddef>
#include <string_view>

namespace quire::server {

// What call metadata can carry. gRPC ends a client that tries to send anything else.

// Neither grpc-*, which gRPC keeps for itself, nor *-bin, whose values are not text.
bool IsMetadataKey(std::string_view key);
inline constexpr char kMetadataKeyRule[] =
    "lower-case letters, digits, '-', '_' and '.', and neither begin with grpc- nor end with -bin, "
    "e.g. x-quire-tenant";
// Printable ASCII without spaces, since those at the ends get lost on the way.
bool IsMetadataText(std::string_view text);

// A tenant's name: text that is not empty and not longer than this.
inline constexpr size_t kMaxTenantNameBytes = 64;

}  // namespace quire::server
