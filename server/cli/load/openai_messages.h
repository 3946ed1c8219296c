#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/cli/load/load_client.h"

namespace quire::cli {

// The body of POST /v1/completions. ignore_eos and priority, where they are asked for, are
// extensions that vLLM and others share.
std::string MakeCompletionBody(const ClientOptions& options, const std::string& model,
                               const ClientRequest& request);

// One event of the answer.
struct CompletionEvent {
  bool has_token = false;                    // one or more: the protocol does not say how many
  bool is_end = false;                       // a finish reason, or "[DONE]"
  std::optional<int64_t> completion_tokens;  // of the whole answer
  std::string error;                         // of a server that fails in the middle
};

// An error where it is no such event.
absl::StatusOr<CompletionEvent> ReadCompletionEvent(std::string_view data);

// The answer of GET /v1/models: the model named `wanted`, or the first. The context is known where
// the server tells it, as vLLM does (max_model_len).
absl::StatusOr<ServerLimits> ReadModels(std::string_view body, const std::string& wanted);

}  // namespace quire::cli
