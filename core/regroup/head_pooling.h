#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/api/types.h"

// What becomes of the K and V heads that are merged into one KV group. The mean is the method of
// Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head
// Checkpoints" (2023), which compares it with the other two.

namespace quire {

enum class PoolMethod : uint8_t {
  kMean,    // the mean of the heads, element by element
  kFirst,   // the first of the heads
  kRandom,  // new weights: normal, with the mean 0 and the standard deviation of all heads'
            // elements
};

// Heads that lie one after the other: K's or V's weights or biases.
struct HeadTensor {
  std::span<const std::byte> data;  // heads * head_elements elements of `dtype`, of any alignment
  kernels::DType dtype = kernels::DType::kBF16;  // kF32, kF16 or kBF16
  int32_t heads = 0;
  // Tells tensors apart, so that each has random weights of its own: in [0, 2^20).
  uint64_t id = 0;
};

// Takes the next bytes of the result. An error ends the work and is passed on.
using ByteSink = std::function<absl::Status(std::span<const std::byte>)>;

// Merges each heads / groups neighbours into one head and hands the `groups` heads to `sink`, in
// order and in pieces. `groups` must divide `heads`. Means are computed in double and rounded once,
// to the nearest, ties to even: where all merged heads are equal, the result is them, bit for bit.
// Random weights depend on the seed, the tensor's id and the place in the result alone.
absl::Status PoolHeads(const HeadTensor& tensor, int32_t groups, PoolMethod method, uint64_t seed,
                       const ByteSink& sink);

// `value` rounded once to `dtype` (kF32, kF16 or kBF16), written to `out`.
void StoreRounded(double value, kernels::DType dtype, std::byte* out);

}  // namespace quire
