#pragma once

#include <cstdint>

#include "kernels/api/sampling.h"
#include "kernels/cpu/tier/tier_kernels.h"

namespace quire::kernels {

// Writes the `count` ids with the largest logits, largest first and the lower id first where they
// are equal. Their `logprob` is the logit less `log_sum`, the log of the sum of all exponentials.
// Ids at minus infinity are left out; unused places get id -1.
void TopLogits(const TierKernels& kernels, const float* logits, int64_t vocab, double log_sum,
               int32_t count, TokenLogprob* out);

}  // namespace quire::kernels
