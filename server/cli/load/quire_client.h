#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/cli/load/load_client.h"

namespace quire::cli {

// Our own API over plaintext gRPC: any number of streams on gRPC's own few threads, spread over
// connections. A clear error in a build without gRPC.
absl::StatusOr<std::unique_ptr<LoadClient>> MakeQuireClient(const ClientOptions& options);

}  // namespace quire::cli
