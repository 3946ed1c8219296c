#pragma once

#include <string_view>

namespace quire::server {

// What call metadata can carry. gRPC ends a client that tries to send anything else.

// Lower-case letters, digits, '-', '_' and '.', and neither grpc-*, which gRPC keeps for itself,
// nor
// *-bin, whose values are not text.
bool IsMetadataKey(std::string_view key);
// Printable ASCII without spaces, since those at the ends get lost on the way.
bool IsMetadataText(std::string_view text);

}  // namespace quire::server
