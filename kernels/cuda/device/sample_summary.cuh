#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/device/constants.h"
#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/sample_row.cuh"

// The raw logits at a glance, before anything is sampled: blocks for parts of a row, so that a few
// rows keep many multiprocessors busy. Parts depend on the vocabulary alone, and so do the bits.

namespace quire::kernels::cuda {

QUIRE_DEVICE bool IsFinite(float x) { return x - x == 0; }

// Of a row. log_sum: of the exponentials; valid where best's logit is finite.
struct Summary {
  uint64_t best;
  double log_sum;
};

// Leaves every row's summaries: grid (rows, SummaryParts(vocab)), rows in steps of the grid.
struct SampleSummaryKernel {
  static constexpr const char* kName = "sample_summary";
  static constexpr int kThreads = kSummaryIds / 16;  // as many ids as a thread loads at a time
  static constexpr int kMinBlocks = 1;
  static constexpr int kWarps = kThreads / 32;
  using Args = SampleArgs;

  struct Room {
    uint64_t best[kWarps];
    double sums[kWarps];
  };
  static constexpr int kSharedBytes = sizeof(Room);

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    Room& room = *reinterpret_cast<Room*>(context.Shared());
    const int64_t vocab = args.vocab;
    const bool aligned = RowsAligned16(args.logits, vocab, 4);
    const int32_t begin = context.BlockY() * kSummaryIds;
    const int32_t end = args.vocab - begin < kSummaryIds ? args.vocab : begin + kSummaryIds;
    for (int64_t r = context.BlockX(); r < args.counts->logit_rows; r += context.GridX()) {
      const IdWords logits = {reinterpret_cast<const uint32_t*>(args.logits + r * vocab), aligned};
      const SummaryPart part = Summarise(context, {begin, end}, logits, room);
      if (context.Thread() != 0) continue;
      args.summaries[r * SummaryParts(args.vocab) + context.BlockY()] = part;
    }
  }

 private:
  // Every thread keeps a running maximum and the sum of exponentials relative to it.
  template <class Context>
  static QUIRE_DEVICE SummaryPart Summarise(Context& context, const IdRange& ids,
                                            const IdWords& logits, Room& room) {
    float max = kMinusInfinity;
    float sum = 0;
    uint64_t best = 0;
    const auto summarise = [&](int32_t first, int32_t count, const Words4& words) {
      float x[4];
      float top = max;
      for (int k = 0; k < 4; ++k) {
        x[k] = k < count ? std::bit_cast<float>(words.word[k]) : kMinusInfinity;
        if (!(x[k] > top || x[k] != x[k])) continue;
        top = x[k];
        const uint64_t own = BestOf(top, static_cast<uint32_t>(first + k));
        best = own > best ? own : best;
      }
      if (top > max) {
        sum *= context.Exp2((max - top) * kLog2E);
        max = top;
      }
      if (max == kMinusInfinity) return;
      for (const float v : x) sum += context.Exp2((v - max) * kLog2E);
    };
    ForIds<kWarps>(context, ids, logits, summarise);
    best = BlockMax<kWarps>(context, best, room.best);
    const float part_max = LogitOf(best);
    const bool counts = IsFinite(part_max) && max != kMinusInfinity;
    const double scaled = counts ? sum * context.Exp2((max - part_max) * kLog2E) : 0;
    return {best, BlockSum<kWarps>(context, scaled, room.sums)};
  }
};

// What a row's parts come to, for all threads of a block. `best` and `sums` have a place a warp.
template <int kWarps, class Context>
QUIRE_DEVICE Summary SummaryOf(Context& context, const SummaryPart* parts, int32_t count,
                               uint64_t* best, double* sums) {
  uint64_t own_best = 0;
  for (int32_t i = context.Thread(); i < count; i += 32 * kWarps) {
    own_best = parts[i].best > own_best ? parts[i].best : own_best;
  }
  const uint64_t row_best = BlockMax<kWarps>(context, own_best, best);
  const float row_max = LogitOf(row_best);
  if (!IsFinite(row_max)) return {row_best, 0};
  double sum = 0;
  for (int32_t i = context.Thread(); i < count; i += 32 * kWarps) {
    if (parts[i].sum == 0) continue;
    sum += parts[i].sum * context.Exp2((LogitOf(parts[i].best) - row_max) * kLog2E);
  }
  return {row_best, row_max + std::log(BlockSum<kWarps>(context, sum, sums))};
}

}  // namespace quire::kernels::cuda
