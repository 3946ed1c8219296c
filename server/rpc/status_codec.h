#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace quire::server {

// The status a client gets. Codes keep their meaning (proto/README.md); the message is cut to what
// fits beside other metadata in the 8 KiB that clients accept.
grpc::Status ToGrpcStatus(const absl::Status& status);

// `text` as it may appear in a message: quoted, control characters escaped, cut to a few words.
std::string Quoted(std::string_view text);

}  // namespace quire::server
