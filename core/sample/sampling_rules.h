#pragma once

#include <cstdint>
#include <span>

#include "core/base/ids.h"
#include "core/request/sampling_params.h"
#include "kernels/api/sampling.h"

namespace quire {

// The kernel's view of a request's sampling parameters for its `generated`-th token (from 0).
// Rules that change nothing are switched off, so that a device can skip them. What the row points
// to is filled in with the batch.
kernels::SamplingRow MakeSamplingRow(const SamplingParams& params, int32_t generated);

// The part of a sequence's tokens that its penalties look at: all of them, the generated ones,
// or none.
std::span<const TokenId> PenalisedHistory(const SamplingParams& params,
                                          std::span<const TokenId> tokens, int32_t prompt_tokens);

}  // namespace quire
