#include "server/cli/load/quire_client.h"

namespace quire::cli {

absl::StatusOr<std::unique_ptr<LoadClient>> MakeQuireClient(const ClientOptions&) {
  return absl::UnimplementedError("--api quire is not in this build: it was made without gRPC");
}

}  // namespace quire::cli
