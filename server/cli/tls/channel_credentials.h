#pragma once

#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/cli/tls/tls_options.h"

namespace quire::cli {

// The content of an option's file, "" without one; an error names the option.
absl::StatusOr<std::string> ReadFileOfOption(const char* option, const std::string& path);

// Reads the files. Insecure ones where TLS is off.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsOptions& options);

}  // namespace quire::cli
