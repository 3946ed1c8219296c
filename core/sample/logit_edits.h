#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/ids.h"
#include "core/request/sampling_params.h"
#include "kernels/api/sampling.h"

namespace quire {

// Where a sequence stands when its next token is drawn.
struct DrawState {
  std::span<const TokenId> tokens;  // prompt and generated tokens that are known
  int32_t generated = 0;            // tokens generated before this one, known or not
  bool last_on_device = false;      // one more token follows `tokens`, known to the device alone
};

// Appends the changes of logits that a request asks for at this draw: logit_bias, then the end
// tokens (`eos` and its stop ids) that min_tokens forbids, then bad_words.
void AppendLogitEdits(const SamplingParams& params, std::span<const TokenId> eos,
                      const DrawState& state, std::vector<kernels::LogitEdit>* edits);

// The most that one call appends for a request within the limits.
int32_t MaxLogitEdits(const SamplingLimits& limits, size_t eos);

}  // namespace quire
