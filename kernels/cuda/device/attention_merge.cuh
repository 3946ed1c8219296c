#pragma once

#include <cstdint>

#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/attention_args.h"
#include "kernels/cuda/device/attention_rows.cuh"

namespace quire::kernels::cuda {

// Adds up the partial results of tiles whose KV was cut, in the order of the KV: grid (merges,
// groups).
template <typename Element>
struct AttentionMergeKernel {
  using Args = AttentionArgs;
  static constexpr const char* kName = "attention_merge";
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = 4;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    if (context.BlockX() >= args.header->merge_count) return;
    const AttentionMerge merge = args.merges[context.BlockX()];
    const AttentionRows rows(args, merge.sequence, context.BlockY());
    const int pairs = args.head_dim / 2;
    for (int i = context.Thread(); i < merge.rows * pairs; i += kThreads) {
      const int row = i / pairs;
      const int dimension = i % pairs * 2;
      const uint32_t packed = MergePair(context, args, merge, row, dimension);
      auto* to = static_cast<uint32_t*>(args.out);
      to[(rows.Offset(merge.row_begin + row) + dimension) / 2] = packed;
    }
  }

 private:
  template <class Context>
  static QUIRE_DEVICE uint32_t MergePair(Context& context, const Args& args,
                                         const AttentionMerge& merge, int row, int dimension) {
    RunningSoftmax all;
    float x = 0;
    float y = 0;
    for (int range = 0; range < merge.ranges; ++range) {
      const int slot = merge.first_slot + range * merge.slot_stride + row / kPartialRows;
      const int64_t unit = static_cast<int64_t>(slot) * args.groups + context.BlockY();
      const int64_t from = unit * kPartialRows + row % kPartialRows;
      const float* out = args.partial_out + from * args.head_dim + dimension;
      const RunningSoftmax::Factors factors = all.Add(context, args.partial_lse[from]);
      x = RunningSoftmax::AddOut(x, factors, out[0]);
      y = RunningSoftmax::AddOut(y, factors, out[1]);
    }
    const float inverse = all.Inverse();
    return context.template Pack<Element>(x * inverse, y * inverse);
  }
};

}  // namespace quire::kernels::cuda
