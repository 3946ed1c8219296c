#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/attention_args.h"

namespace quire::kernels::cuda {

QUIRE_DEVICE int Min(int a, int b) { return a < b ? a : b; }
QUIRE_DEVICE int Max(int a, int b) { return a > b ? a : b; }

// The rows of one sequence and group.
struct AttentionRows {
  int first_token;  // of the sequence in the batch
  int count;
  int first_limit;  // tokens of KV that the first query token sees
  int q_per_group;
  int num_heads;
  int first_head;
  int head_dim;

  QUIRE_DEVICE AttentionRows(const AttentionArgs& args, int sequence, int group)
      : q_per_group(args.num_heads / args.groups),
        num_heads(args.num_heads),
        first_head(group * q_per_group),
        head_dim(args.head_dim) {
    first_token = args.q_start[sequence];
    const int tokens = args.q_start[sequence + 1] - first_token;
    count = tokens * q_per_group;
    first_limit = args.kv_len[sequence] - tokens + 1;
  }

  // End of the KV that a row sees. Rows behind the last see what the last one does.
  QUIRE_DEVICE int Limit(int row) const { return first_limit + Min(row, count - 1) / q_per_group; }

  // Where the row's vector is in Q and in the output, in elements.
  QUIRE_DEVICE int64_t Offset(int row) const {
    const int token = first_token + row / q_per_group;
    const int head = first_head + row % q_per_group;
    return (static_cast<int64_t>(token) * num_heads + head) * head_dim;
  }
};

// A softmax's result over a part of the KV: (base-2 log of the sum, normalised out) for a part,
// (max, sum, out) for the parts so far. Parts are added in order of the KV; nothing here leaves the
// compiler a choice of rounding, so that every kernel that adds the same parts gets the same bits.
struct RunningSoftmax {
  float max = -INFINITY;
  float sum = 0;

  // Returns the factors of the old out and of the part's.
  struct Factors {
    float old_out;
    float part;
  };
  template <class Context>
  QUIRE_DEVICE Factors Add(Context& context, float lse) {
    const float new_max = std::fmax(max, lse);
    const Factors factors = FactorsOf(context, max, new_max, lse);
    AddSum(factors);
    max = new_max;
    return factors;
  }
  // Add's factors and the sum's part of it, where the maxima are known.
  template <class Context>
  static QUIRE_DEVICE Factors FactorsOf(Context& context, float old_max, float new_max, float lse) {
    const float base = new_max == -INFINITY ? 0.0f : new_max;
    return {context.Exp2(old_max - base), context.Exp2(lse - base)};
  }
  QUIRE_DEVICE void AddSum(const Factors& factors) {
    sum = std::fma(sum, factors.old_out, factors.part);
  }
  static QUIRE_DEVICE float AddOut(float out, const Factors& factors, float part) {
    return std::fma(out, factors.old_out, factors.part * part);
  }
  QUIRE_DEVICE float Inverse() const { return sum == 0 ? 0.0f : 1.0f / sum; }
  QUIRE_DEVICE float Lse() const { return sum == 0 ? -INFINITY : max + std::log2(sum); }
};

}  // namespace quire::kernels::cuda
