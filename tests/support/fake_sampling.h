#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/base/ids.h"
#include "core/request/sampling_params.h"
#include "kernels/api/sampling.h"

// How the fake model turns a hash of the prefix into a token, by a request's rules as a test reads
// them, without the engine's code for them.

namespace quire::testing {

struct FakeModelOptions {
  int depth = 0;
  int32_t block_tokens = 16;
  // By cache class: 0 for none, else at least 2; and the size of a block.
  std::vector<int32_t> windows = {0};
  std::vector<uint32_t> block_units = {1};
  int32_t vocab = 1000;
  TokenId eos = -1;  // >= 0: one token in eos_period is this one
  uint32_t eos_period = 0;
  uint32_t nan_period = 0;   // > 0: one draw in nan_period has no finite logits
  int64_t fail_launch = -1;  // the n-th LaunchForward (from 0) fails
  int64_t fail_complete = -1;
};

inline constexpr uint64_t kEmptyPrefix = 0x9e3779b97f4a7c15u;
uint64_t Mix(uint64_t x);
uint64_t Extend(uint64_t prefix_hash, TokenId token);

// The draw for `hash`: the first candidate that is not excluded. `allowed` as in SamplingParams.
kernels::SampledToken DrawToken(const FakeModelOptions& model, uint64_t hash,
                                std::span<const TokenId> allowed,
                                const std::function<bool(TokenId)>& excluded);
// The logprob of `target` behind a prefix.
float ScoreOf(uint64_t prefix_hash, TokenId target);
// The logprobs of a prompt's tokens after the first.
std::vector<float> ExpectedScores(std::span<const TokenId> prompt);
// The n-th likeliest token behind a prefix.
kernels::TokenLogprob AlternativeAt(const FakeModelOptions& model, uint64_t prefix_hash, int32_t n);

// What penalties make of a hash: it depends on the ids they look at and how many are generated.
uint64_t Penalised(uint64_t hash, std::span<const TokenId> history, int32_t generated);
// What a seed other than 0 makes of it: another draw for each of the sequence's tokens.
uint64_t Seeded(uint64_t hash, uint64_t seed, uint64_t counter);

// The token after `prefix`, of which the first `prompt_tokens` are the prompt; nullopt where the
// model's output is not finite or the rules leave nothing.
std::optional<TokenId> ExpectedToken(const FakeModelOptions& model, std::span<const TokenId> prefix,
                                     size_t prompt_tokens, const SamplingParams& params);

}  // namespace quire::testing
