#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/ids.h"

namespace quire {

// How a request's tokens are chosen and when it ends. Plain data, complete: every default has
// been applied before it reaches the engine.
struct SamplingParams {
  float temperature = 1.0f;         // 0: greedy
  float top_p = 1.0f;               // (0, 1]; 1: off
  float min_p = 0.0f;               // [0, 1]; 0: off
  int32_t top_k = 0;                // 0: off
  float repetition_penalty = 1.0f;  // > 0; 1: off. Counts prompt and output
  uint64_t seed = 0;                // same seed, same request: same tokens, whatever the batch
  int32_t max_tokens = 0;           // >= 1 generated tokens at most
  bool ignore_eos = false;          // go on past the model's end token
  bool logprobs = false;            // report the logprob of each generated token
  std::vector<TokenId> stop_token_ids;
  std::vector<std::string> stop;  // stop strings, matched on bytes across token boundaries
};

// Upper bounds on what one request may ask for; each is a server option.
struct SamplingLimits {
  int32_t max_stop_strings = 16;
  int32_t max_stop_string_bytes = 256;
  int32_t max_stop_token_ids = 64;
};

// InvalidArgument with the field's name, its value and the allowed range.
absl::Status ValidateSamplingParams(const SamplingParams& params, const SamplingLimits& limits,
                                    int32_t vocab_size);

}  // namespace quire
