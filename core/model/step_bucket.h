#pragma once

#include <cstdint>
#include <span>

#include "kernels/api/views.h"

namespace quire {

// Decode steps, in which every sequence has one token, come in these sizes: 1, 2, 4, ... tokens.
inline constexpr int32_t kDecodeBuckets = 9;
inline constexpr int32_t kMaxDecodeTokens = 1 << (kDecodeBuckets - 1);

// The sizes that a step is launched with: its own, rounded up, so that no matrix product is much
// larger than the step needs and launches are of few kinds.
struct StepBucket {
  kernels::BatchCapacity capacity;  // the same for all steps of one decode bucket
  int32_t decode = -1;              // which of kDecodeBuckets; -1: another kind of step
};

// `q_start`: [counts.sequences + 1]. `whole`: what any step may hold; the counts are within it, and
// so is the bucket.
StepBucket BucketOf(const kernels::BatchCounts& counts, std::span<const int32_t> q_start,
                    const kernels::BatchCapacity& whole);

}  // namespace quire
