#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/attention_args.h"
#include "kernels/cuda/device/attention_rows.cuh"

namespace quire::kernels::cuda {

// Adds up the partial results of tiles whose KV was cut, in the order of the KV: grid (merges,
// AttentionMergeBlocks). A warp takes 64 columns of a row: the factors of 32 ranges are made at a
// time, one a lane, so that what is left one after the other is a multiplication and an addition.
template <typename Element>
struct AttentionMergeKernel {
  using Args = AttentionArgs;
  static constexpr const char* kName = "attention_merge";
  static constexpr int kThreads = 32 * kAttentionMergeWarps;
  static constexpr int kMinBlocks = 8;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    if (context.BlockX() >= args.header->merge_count) return;
    const AttentionMerge& merge = Merges(args)[context.BlockX()];
    const int parts = AttentionMergeParts(args.head_dim);
    const int units = Min(merge.rows, kPartialRows) * parts;  // of a group
    const int unit = context.BlockY() * kAttentionMergeWarps + context.Warp();
    const int group = unit / units;
    if (group >= args.groups) return;
    const int part = unit % units % parts;
    const AttentionRows rows(args, merge.sequence, group);
    for (int row = unit % units / parts; row < merge.rows; row += kPartialRows) {
      Row work = {args, merge, group, row, part * kAttentionMergeColumns + 2 * context.Lane()};
      const uint32_t packed = work.Merge(context);
      if (work.column >= args.head_dim) continue;
      auto* to = static_cast<uint32_t*>(args.out);
      to[(rows.Offset(merge.row_begin + row) + work.column) / 2] = packed;
    }
  }

 private:
  struct alignas(8) Pair {
    float x = 0;
    float y = 0;
  };

  static QUIRE_DEVICE const AttentionMerge* Merges(const Args& args) {
    const auto* items = reinterpret_cast<const std::byte*>(args.items);
    return reinterpret_cast<const AttentionMerge*>(items + args.header->merges_offset);
  }

  // The lane's two columns of a row of a tile.
  struct Row {
    const Args& args;
    const AttentionMerge& merge;
    int group;
    int row;
    int column;
    RunningSoftmax all = {};
    Pair out = {};

    // [warp] Returns the two columns of the result.
    template <class Context>
    QUIRE_DEVICE uint32_t Merge(Context& context) {
      for (int first = 0; first < merge.ranges; first += 32) {
        AddRanges(context, first, Min(32, merge.ranges - first));
      }
      const float inverse = all.Inverse();
      return context.template Pack<Element>(out.x * inverse, out.y * inverse);
    }

    // Where the row's partial result of a range is, in rows.
    QUIRE_DEVICE int64_t PartialRow(int range) const {
      const int slot = merge.first_slot + range * merge.slot_stride + row / kPartialRows;
      const int64_t unit = static_cast<int64_t>(slot) * args.groups + group;
      return unit * kPartialRows + row % kPartialRows;
    }

    // The maximum up to each range comes from a scan, which gives the bits of one after the other.
    template <class Context>
    QUIRE_DEVICE void AddRanges(Context& context, int first, int count) {
      const int lane = context.Lane();
      const float lse = lane < count ? args.partial_lse[PartialRow(first + lane)] : -INFINITY;
      float max = std::fmax(all.max, lse);
      for (int delta = 1; delta < 32; delta *= 2) {
        const float lower = context.ShuffleUp(max, delta);
        if (lane >= delta) max = std::fmax(max, lower);
      }
      const float previous = context.ShuffleUp(max, 1);
      const auto factors =
          RunningSoftmax::FactorsOf(context, lane == 0 ? all.max : previous, max, lse);
      all.max = context.Shuffle(max, 31);
      for (int i = 0; i < count; i += kAtATime) AddSome(context, factors, first, i, count);
    }

    // Ranges whose results are on their way from memory together.
    static constexpr int kAtATime = 8;
    template <class Context>
    QUIRE_DEVICE void AddSome(Context& context, const RunningSoftmax::Factors& factors, int first,
                              int begin, int count) {
      Pair parts[kAtATime];
      QUIRE_UNROLL for (int i = 0; i < kAtATime; ++i) {
        if (begin + i >= count || column >= args.head_dim) continue;
        const int64_t at = PartialRow(first + begin + i) * args.head_dim + column;
        parts[i] = *reinterpret_cast<const Pair*>(args.partial_out + at);
      }
      QUIRE_UNROLL for (int i = 0; i < kAtATime; ++i) {
        if (begin + i >= count) continue;
        const RunningSoftmax::Factors own = {context.Shuffle(factors.old_out, begin + i),
                                             context.Shuffle(factors.part, begin + i)};
        all.AddSum(own);
        out.x = RunningSoftmax::AddOut(out.x, own, parts[i].x);
        out.y = RunningSoftmax::AddOut(out.y, own, parts[i].y);
      }
    }
  };
};

}  // namespace quire::kernels::cuda
