#include "server/cli/load/openai_client.h"

namespace quire::cli {

absl::StatusOr<std::unique_ptr<LoadClient>> MakeOpenAiClient(const ClientOptions&) {
  return absl::UnimplementedError(
      "--api openai is not in this build: it was made without libcurl (Debian: apt-get install "
      "libcurl4-openssl-dev)");
}

}  // namespace quire::cli
