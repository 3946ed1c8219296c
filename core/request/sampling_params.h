#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/ids.h"

namespace quire {

struct LogitBias {
  TokenId token = 0;
  float bias = 0;  // [-100, 100], added to the logit; kBanningBias takes the token out for good
};
inline constexpr float kBanningBias = -100;

// How a request's tokens are chosen and when it ends. Plain data, complete: every default has
// been applied before it reaches the engine. The order of the rules: kernels/api/sampling.h.
struct SamplingParams {
  float temperature = 1.0f;         // 0: greedy
  float top_p = 1.0f;               // (0, 1]; 1: off
  float min_p = 0.0f;               // [0, 1]; 0: off
  int32_t top_k = 0;                // 0: off
  float repetition_penalty = 1.0f;  // > 0; 1: off. Counts prompt and output
  float frequency_penalty = 0.0f;   // [-2, 2]; 0: off. Times the token is in the output
  float presence_penalty = 0.0f;    // [-2, 2]; 0: off. Once for every token in the output
  uint64_t seed = 0;                // same seed, same request: same tokens, whatever the batch

  std::vector<LogitBias> logit_bias;
  std::vector<TokenId> allowed_token_ids;  // not empty: no other token is drawn
  // The last token of each sequence is not drawn where prompt and output end with the rest of it.
  std::vector<std::vector<TokenId>> bad_words;

  int32_t max_tokens = 0;   // >= 1 generated tokens at most
  int32_t min_tokens = 0;   // it does not stop before, and none of so many is an end token
  bool ignore_eos = false;  // go on past the model's end token
  std::vector<TokenId> stop_token_ids;
  std::vector<std::string> stop;    // stop strings, matched on bytes across token boundaries
  bool include_stop = false;        // what made it stop is part of the text
  bool skip_special_tokens = true;  // special tokens have no text

  bool logprobs = false;         // report the logprob of each generated token
  int32_t top_logprobs = 0;      // and as many of the likeliest tokens at its place
  int32_t prompt_logprobs = -1;  // >= 0: the same for the prompt's tokens after the first
};

// Upper bounds on what one request may ask for; each is a server option.
struct SamplingLimits {
  int32_t max_stop_strings = 16;
  int32_t max_stop_string_bytes = 256;
  int32_t max_stop_token_ids = 64;
  int32_t max_logit_biases = 1024;
  int32_t max_allowed_token_ids = 1024;
  int32_t max_bad_words = 128;       // token sequences; a string is one or two
  int32_t max_bad_word_tokens = 32;  // of one sequence
  int32_t max_top_logprobs = 20;     // of a generated or a prompt token
};

// InvalidArgument with the field's name, its value and the allowed range.
absl::Status ValidateSamplingParams(const SamplingParams& params, const SamplingLimits& limits,
                                    int32_t vocab_size);

// The seed of the `index`-th of several answers to one prompt; that of index 0 is `seed` itself.
uint64_t SeedOfAnswer(uint64_t seed, int32_t index);

}  // namespace quire
