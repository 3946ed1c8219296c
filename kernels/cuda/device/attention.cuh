#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/attention_args.h"
#include "kernels/cuda/device/attention_loader.cuh"
#include "kernels/cuda/device/attention_rows.cuh"
#include "kernels/cuda/device/attention_shape.cuh"
#include "kernels/cuda/device/attention_warp.cuh"

namespace quire::kernels::cuda {

// A block's work on one item and group: the ring of KV tiles, the warps' attention, their results.
template <class Shape, class Context>
class AttentionBlock {
 public:
  QUIRE_DEVICE AttentionBlock(Context& context, const AttentionArgs& args,
                              const AttentionItem& item, int group)
      : context_(context),
        args_(args),
        item_(item),
        group_(group),
        first_row_(item.row_begin + context.Warp() % Shape::kRowWarps * 16),
        kv_warp_(context.Warp() / Shape::kRowWarps),
        mask_(Rows(), first_row_, context.Lane(), args.window),
        map_(args),
        all_end_(Rows().Limit(item.row_begin)),
        seen_end_(Rows().Limit(item.row_begin + Shape::kRows - 1)),
        loader_(args, item.sequence, group, Max(0, SeenBegin(all_end_)), item.kv_end) {}

  QUIRE_DEVICE void Run() {
    warp_.LoadQ(args_, Rows(), first_row_, context_.Lane(), SharedQ(), kv_warp_ == 0);
    if constexpr (Shape::kKvWarps == 1) {
      AttendTo(item_.kv_begin, item_.kv_end);
      StoreWarp();
    } else if (args_.split == 0) {
      AttendTo(item_.kv_begin, item_.kv_end);
      MeetWarps();
      const AttentionRows rows = Rows();
      ForEachMergedPair([&](int row, int dimension, float x, float y, float lse) {
        Emit(rows, row, dimension, x, y, lse);
      });
    } else {
      RunSplits();
    }
  }

 private:
  QUIRE_DEVICE std::byte* SharedQ() {
    return context_.Shared() + Shape::kQOffset +
           context_.Warp() % Shape::kRowWarps * (Shape::kHeadDim * 32);
  }
  // Made anew where it is needed: registers are short in between.
  QUIRE_DEVICE AttentionRows Rows() const { return AttentionRows(args_, item_.sequence, group_); }
  // Of a row that sees the tokens before `end`.
  QUIRE_DEVICE int SeenBegin(int end) const { return args_.window > 0 ? end - args_.window : 0; }

  // warp_ = attention to [begin, end). One Sync a tile: after it everybody has this tile and nobody
  // reads the one before, into whose place the copy of a later one then goes.
  QUIRE_DEVICE void AttendTo(int begin, int end) {
    const int tiles = (end - begin + Shape::kTokens - 1) / Shape::kTokens;
    warp_.Reset();
    uint32_t entry = loader_.TableEntry(context_.Lane(), begin);
    QUIRE_UNROLL for (int i = 0; i < Shape::kStages - 1; ++i) StartCopy(begin, i, tiles, i, entry);
    int stage = 0;
    for (int i = 0; i < tiles; ++i) {
      context_.template CopyWait<Shape::kStages - 2>();
      context_.Sync();
      const int free_stage = stage == 0 ? Shape::kStages - 1 : stage - 1;
      StartCopy(begin, i + Shape::kStages - 1, tiles, free_stage, entry);
      const int tile_begin = begin + i * Shape::kTokens;
      if (IsPartlySeen(tile_begin)) {
        HideNonFiniteValues(Stage(stage));
        context_.Sync();
      }
      const int row_begin = kv_warp_ * Shape::kWarpTokens;
      warp_.Attend(context_, Stage(stage), row_begin, tile_begin + row_begin, map_, mask_,
                   SharedQ());
      stage = stage == Shape::kStages - 1 ? 0 : stage + 1;
    }
    warp_.Finish(context_);
  }

  // Whether some of the block's rows see a token of the tile and others do not.
  QUIRE_DEVICE bool IsPartlySeen(int tile_begin) const {
    return !Shape::kFp8 && all_end_ != seen_end_ &&
           (tile_begin + Shape::kTokens > all_end_ || tile_begin < SeenBegin(seen_end_));
  }

  // Even times the probability 0 of a row that does not see the token, what is not finite in V
  // would make NaN of the row. K gets the NaN instead, whose score can be masked. (An fp8 value is
  // finite, and its scale is in the probability.)
  QUIRE_DEVICE void HideNonFiniteValues(std::byte* stage) {
    for (int i = context_.Thread(); i < Shape::kTokens * Shape::kChunks; i += Shape::kThreads) {
      auto* values = reinterpret_cast<uint32_t*>(stage + Shape::kTileBytes + i * 16);
      uint32_t found = 0;
      for (int j = 0; j < 4; ++j) found |= NonFinite(values[j]);
      if (found == 0) continue;
      const int row = i / Shape::kChunks;
      const int first_chunk = row * Shape::kChunks + Shape::SwizzleBits(row);
      auto* key = reinterpret_cast<uint32_t*>(stage + first_chunk * 16);
      for (int j = 0; j < 4; ++j) values[j] = 0;
      *key = ~0u;
    }
  }

  // Bit 15 and bit 31 for what is not finite: adding one to an exponent that is all ones carries
  // into the sign's place.
  static QUIRE_DEVICE uint32_t NonFinite(uint32_t pair) {
    constexpr bool kIsBFloat16 = Shape::Element::kIsBFloat16;
    constexpr uint32_t kExponent = kIsBFloat16 ? 0x7f807f80u : 0x7c007c00u;
    constexpr uint32_t kOne = kIsBFloat16 ? 0x00800080u : 0x04000400u;
    return ((pair & kExponent) + kOne) & 0x80008000u;
  }

  // Copies tile `i` and asks for the table entry of the next.
  QUIRE_DEVICE void StartCopy(int begin, int i, int tiles, int stage, uint32_t& entry) {
    if (i < tiles) {
      const int tile_begin = begin + i * Shape::kTokens;
      loader_.Copy(context_, tile_begin, entry, Stage(stage));
      entry = loader_.TableEntry(context_.Lane(), tile_begin + Shape::kTokens);
    }
    context_.CopyCommit();
  }
  QUIRE_DEVICE std::byte* Stage(int stage) {
    return context_.Shared() + stage * Shape::kStageBytes;
  }

  // A pair of results, normalised: rounded into the output, or as partial results for the merge.
  QUIRE_DEVICE void Emit(const AttentionRows& rows, int row, int dimension, float x, float y,
                         float lse) {
    if (row >= rows.count || dimension >= args_.head_dim) return;
    if (item_.slot < 0) {
      auto* to = static_cast<uint32_t*>(args_.out);
      to[(rows.Offset(row) + dimension) / 2] =
          context_.template Pack<typename Shape::Element>(x, y);
      return;
    }
    const int in_tile = row - item_.row_begin;
    const int64_t unit =
        static_cast<int64_t>(item_.slot + in_tile / kPartialRows) * args_.groups + group_;
    const int64_t partial_row = unit * kPartialRows + in_tile % kPartialRows;
    float* to = args_.partial_out + partial_row * args_.head_dim + dimension;
    to[0] = x;
    to[1] = y;
    if (dimension == 0) args_.partial_lse[partial_row] = lse;
  }

  QUIRE_DEVICE void StoreWarp() {
    const AttentionRows rows = Rows();
    QUIRE_UNROLL for (int half = 0; half < 2; ++half) {
      const int row = first_row_ + context_.Lane() / 4 + 8 * half;
      const RunningSoftmax all{warp_.max[half], warp_.sum[half]};
      const float inverse = all.Inverse();
      const float lse = all.Lse();
      warp_.ForEachPair(half, context_.Lane(), [&](int dimension, float x, float y) {
        Emit(rows, row, dimension, x * inverse, y * inverse, lse);
      });
    }
  }

  QUIRE_DEVICE float* MergeOut(int kv_warp, int row) {
    return reinterpret_cast<float*>(context_.Shared()) +
           (kv_warp * Shape::kRows + row) * Shape::kMergeStride;
  }
  QUIRE_DEVICE float* MergeMaxSum(int kv_warp, int row) {
    return MergeOut(Shape::kKvWarps, 0) + (kv_warp * Shape::kRows + row) * 2;
  }

  // The KV warps' results into shared memory, over the ring.
  QUIRE_DEVICE void MeetWarps() {
    context_.Sync();
    QUIRE_UNROLL for (int half = 0; half < 2; ++half) {
      const int row = context_.Lane() / 4 + 8 * half;
      float* to = MergeOut(kv_warp_, row);
      warp_.ForEachPair(half, context_.Lane(), [&](int dimension, float x, float y) {
        to[dimension] = x;
        to[dimension + 1] = y;
      });
      if (context_.Lane() % 4 == 0) {
        MergeMaxSum(kv_warp_, row)[0] = warp_.max[half];
        MergeMaxSum(kv_warp_, row)[1] = warp_.sum[half];
      }
    }
    context_.Sync();
  }

  // Calls store(row, dimension, x, y, lse) with the merged results.
  template <class Store>
  QUIRE_DEVICE void ForEachMergedPair(const Store& store) {
    for (int i = context_.Thread(); i < Shape::kRows * Shape::kHeadDim / 2; i += Shape::kThreads) {
      const int row = i / (Shape::kHeadDim / 2);
      const int dimension = i % (Shape::kHeadDim / 2) * 2;
      RunningSoftmax all;
      QUIRE_UNROLL for (int w = 0; w < Shape::kKvWarps; ++w) {
        all.max = std::fmax(all.max, MergeMaxSum(w, row)[0]);
      }
      const float base = all.max == -INFINITY ? 0.0f : all.max;
      float x = 0;
      float y = 0;
      QUIRE_UNROLL for (int w = 0; w < Shape::kKvWarps; ++w) {
        const float factor = context_.Exp2(MergeMaxSum(w, row)[0] - base);
        all.sum = std::fma(factor, MergeMaxSum(w, row)[1], all.sum);
        x = std::fma(factor, MergeOut(w, row)[dimension], x);
        y = std::fma(factor, MergeOut(w, row)[dimension + 1], y);
      }
      const float inverse = all.Inverse();
      store(item_.row_begin + row, dimension, x * inverse, y * inverse, all.Lse());
    }
  }

  // Restarts at every multiple of the split and adds the parts up in order.
  QUIRE_DEVICE void RunSplits() {
    int turn = 0;
    for (int begin = item_.kv_begin; begin < item_.kv_end; turn ^= 1) {
      const int end = Min((begin / args_.split + 1) * args_.split, item_.kv_end);
      AttendTo(begin, end);
      MeetWarps();
      const bool first = begin == item_.kv_begin;
      const bool last = end == item_.kv_end;
      ForEachMergedPair([&](int row, int dimension, float x, float y, float lse) {
        AddPart(row, dimension, x, y, lse, turn, first, last);
      });
      context_.Sync();
      begin = end;
    }
  }

  QUIRE_DEVICE void AddPart(int row, int dimension, float x, float y, float lse, int turn,
                            bool first, bool last) {
    auto* outer = reinterpret_cast<float*>(context_.Shared() + Shape::kOuterOffset);
    const int in_tile = row - item_.row_begin;
    float* out = outer + in_tile * Shape::kHeadDim + dimension;
    // Two turns: other threads may still read what this part starts from.
    float* state = outer + Shape::kRows * Shape::kHeadDim + in_tile * 4;
    RunningSoftmax all;
    if (!first) all = {state[2 * turn], state[2 * turn + 1]};
    const RunningSoftmax::Factors factors = all.Add(context_, lse);
    out[0] = RunningSoftmax::AddOut(first ? 0.0f : out[0], factors, x);
    out[1] = RunningSoftmax::AddOut(first ? 0.0f : out[1], factors, y);
    if (dimension == 0) {
      state[2 * (turn ^ 1)] = all.max;
      state[2 * (turn ^ 1) + 1] = all.sum;
    }
    if (!last) return;
    const float inverse = all.Inverse();
    Emit(Rows(), row, dimension, out[0] * inverse, out[1] * inverse, all.Lse());
  }

  Context& context_;
  const AttentionArgs& args_;
  const AttentionItem& item_;
  const int group_;
  const int first_row_;
  const int kv_warp_;
  const WarpMask mask_;
  const ScoreMap map_;
  const int all_end_;   // of what all rows of the block see
  const int seen_end_;  // of what any of them sees
  AttentionLoader<Shape> loader_;
  AttentionWarp<Shape> warp_;
};

// Paged attention of the rows of one tile size: a block for each item and group, numbered item by
// item. Blocks start in order of their numbers, so what runs longest starts first, whatever its
// group, and blocks beyond the plan come last and end at once. Grouped queries share each K and V
// that is read; decode, prefill and anything between differ in the tiles alone.
template <typename Element, bool kFp8, int kHeadDim, int kRowWarps, int kKvWarps>
struct AttentionKernel {
  using Shape = AttentionShape<Element, kFp8, kHeadDim, kRowWarps, kKvWarps>;
  using Args = AttentionArgs;
  static constexpr const char* kName = "attention";
  static constexpr int kThreads = Shape::kThreads;
  static constexpr int kMinBlocks = kHeadDim > 128 || kRowWarps > 4 ? 1 : kKvWarps == 1 ? 2 : 3;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    const AttentionHeader& header = *args.header;
    const int index = context.BlockX() / args.groups;
    if (index >= header.item_count[Shape::kTileClass]) return;
    const AttentionItem& item = args.items[header.item_begin[Shape::kTileClass] + index];
    AttentionBlock<Shape, Context>(context, args, item, context.BlockX() % args.groups).Run();
  }
};

}  // namespace quire::kernels::cuda
