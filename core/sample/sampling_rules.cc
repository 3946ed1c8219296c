#include "core/sample/sampling_rules.h"

namespace quire {

kernels::SamplingRow MakeSamplingRow(const SamplingParams& params, int32_t generated) {
  kernels::SamplingRow row;
  row.temperature = params.temperature;
  row.repetition_penalty = params.repetition_penalty;
  row.frequency_penalty = params.frequency_penalty;
  row.presence_penalty = params.presence_penalty;
  row.alternatives = params.top_logprobs;
  row.seed = params.seed;
  row.counter = static_cast<uint64_t>(generated);
  if (params.temperature == 0) return row;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.top_k = params.top_k;
  return row;
}

std::span<const TokenId> PenalisedHistory(const SamplingParams& params,
                                          std::span<const TokenId> tokens, int32_t prompt_tokens) {
  if (params.repetition_penalty != 1) return tokens;
  const bool counts = params.frequency_penalty != 0 || params.presence_penalty != 0;
  return counts ? tokens.subspan(static_cast<size_t>(prompt_tokens)) : std::span<const TokenId>();
}

}  // namespace quire
