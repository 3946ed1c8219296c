#pragma once

#include <grpcpp/security/credentials.h>

#include <memory>

#include "absl/status/statusor.h"
#include "server/cli/tls/tls_options.h"

namespace quire::cli {

// Where nothing connects.
inline constexpr char kNoServerHint[] =
    " (is a quire-server listening there, and does it speak TLS if and only if --tls is given?)";

// Reads the files. Insecure ones where TLS is off.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsOptions& options);

}  // namespace quire::cli
