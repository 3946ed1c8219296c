#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/cli/load/load_client.h"

namespace quire::cli {

// POST /v1/completions with stream=true, as vLLM, SGLang, llama.cpp and others serve it, over
// HTTP/1.1 by libcurl: all transfers on one thread of the client's own. A clear error in a build
// without libcurl.
absl::StatusOr<std::unique_ptr<LoadClient>> MakeOpenAiClient(const ClientOptions& options);

}  // namespace quire::cli
