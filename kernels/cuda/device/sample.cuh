#pragma once

#include <cmath>

#include "kernels/api/philox.h"
#include "kernels/cuda/device/sample_find.cuh"
#include "kernels/cuda/device/sample_row.cuh"
#include "kernels/cuda/device/sample_rules.cuh"
#include "kernels/cuda/device/sample_select.cuh"
#include "kernels/cuda/device/sample_summary.cuh"

// Sample of kernels/api/ops.h: after SampleSummaryKernel, one block a row, rows in steps of the
// grid. The draw inverts the cumulative distribution over the kept ids in id order, with the
// uniform that the CPU back end takes too. A row's outcome depends on its own inputs alone, bit for
// bit.

namespace quire::kernels::cuda {

// Ids by their weight; sizes are 1, or the weight in units of 2^-40.
struct WeightSource {
  const uint32_t* work;
  Boundary kept;
  bool by_mass;

  // Weights lie in [0, 1], so their bits order and leave the two leading ones free.
  static QUIRE_DEVICE uint32_t KeyOfWeight(uint32_t bits) { return bits << 2; }

  QUIRE_DEVICE uint64_t SizeOf(uint32_t key) const {
    if (!by_mass) return 1;
    return static_cast<uint64_t>(std::bit_cast<float>(key >> 2) * 0x1p40f);
  }
  QUIRE_DEVICE IdWords Words() const { return {work, true}; }
  QUIRE_DEVICE Ranked Rank(int32_t id, uint32_t word) const {
    const uint32_t key = KeyOfWeight(word);
    return {key, key != 0 && kept.Keeps(key, id) ? SizeOf(key) : 0};
  }
};

// Ids by their logit; those at minus infinity are left out.
struct LogitSource {
  const SampleRow* row;

  QUIRE_DEVICE uint64_t SizeOf(uint32_t) const { return 1; }
  QUIRE_DEVICE IdWords Words() const { return row->Logits(); }
  QUIRE_DEVICE Ranked Rank(int32_t, uint32_t word) const {
    const auto x = std::bit_cast<float>(word);
    return {KeyOf(x), uint64_t{x > kMinusInfinity}};
  }
};

template <int kBlockThreads>
struct SampleKernel {
  static constexpr const char* kName = "sample";
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 1;
  static constexpr int kWarps = kThreads / 32;
  using Args = SampleArgs;

  struct Room {
    SelectRoom<kThreads> select;
    FindRoom<kThreads> find;
    uint64_t best[kWarps];
    double sums[kWarps];
    uint32_t found;
  };
  static constexpr int kSharedBytes = sizeof(Room);

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    Room& room = *reinterpret_cast<Room*>(context.Shared());
    const int64_t vocab = args.vocab;
    const bool aligned = RowsAligned16(args.logits, vocab, 4);
    uint32_t* const work = args.work + context.BlockX() * SampleWorkStride(vocab);
    for (int64_t r = context.BlockX(); r < args.counts->logit_rows; r += context.GridX()) {
      const SampleRow row = {args.logits + r * vocab,
                             aligned,
                             args.vocab,
                             work,
                             args.rows + r,
                             args.summaries + r * SummaryParts(args.vocab)};
      TokenLogprob* const alternatives = args.alternatives + r * args.max_alternatives;
      const SampledToken token = Choose(context, args, row, alternatives, room);
      if (context.Thread() == 0) args.out[r] = token;
    }
  }

 private:
  template <class Context>
  static QUIRE_DEVICE SampledToken Choose(Context& context, const Args& args, const SampleRow& row,
                                          TokenLogprob* alternatives, Room& room) {
    const int32_t wanted = row.rules->alternatives < args.max_alternatives ? row.rules->alternatives
                                                                           : args.max_alternatives;
    for (int32_t i = context.Thread(); i < wanted; i += kThreads) alternatives[i] = {-1, 0};
    // The work row is not touched before the block's Syncs here: threads may still be reading that
    // of the row before.
    const Summary raw =
        SummaryOf<kWarps>(context, row.summaries, SummaryParts(row.vocab), room.best, room.sums);
    if (!IsFinite(LogitOf(raw.best))) return {kNotFinite, 0};
    const int32_t id =
        row.rules->target >= 0 ? row.rules->target : ChooseId(context, args, row, raw.best, room);
    if (id < 0 || id >= row.vocab) return {id < 0 ? id : kNotFinite, 0};
    if (wanted > 0) WriteAlternatives(context, row, raw.log_sum, wanted, alternatives, room);
    return {id, LogprobOf(row, id, raw.log_sum)};
  }

  static QUIRE_DEVICE float LogprobOf(const SampleRow& row, int32_t id, double log_sum) {
    return static_cast<float>(static_cast<double>(row.logits[id]) - log_sum);
  }

  // Negative: one of the codes in kernels/api/sampling.h. `best` is that of the raw logits.
  template <class Context>
  static QUIRE_DEVICE int32_t ChooseId(Context& context, const Args& args, const SampleRow& row,
                                       uint64_t best, Room& room) {
    const SamplingRow& rules = *row.rules;
    const int32_t last = rules.history_row >= 0 ? args.previous[rules.history_row].token_id : -1;
    if (rules.history_row >= 0 && last < 0) return kNotFinite;
    const bool ruled = HasRules(rules, last);
    if (ruled) best = RuledBest<kThreads>(context, args, row, last, room.best);
    if (!IsFinite(LogitOf(best))) return kNothingAllowed;
    if (!(rules.temperature > 0)) return IdOf(best);
    FillWeights(context, row, ruled, LogitOf(best));
    const Boundary kept = Filter(context, row, room);
    return Draw(context, row, kept, room);
  }

  // The work row becomes probabilities relative to the best id's.
  template <class Context>
  static QUIRE_DEVICE void FillWeights(Context& context, const SampleRow& row, bool ruled,
                                       float max) {
    // Beyond any useful 1 / temperature; inside, neither 0 nor minus infinity times it is NaN.
    float scale = kLog2E / row.rules->temperature;
    scale = scale < 1e-30f ? 1e-30f : scale > 1e30f ? 1e30f : scale;
    const auto fill = [&](int32_t first, int32_t count, const Words4& words) {
      Words4 weights;
      for (int k = 0; k < 4; ++k) {
        const float x = std::bit_cast<float>(words.word[k]);
        weights.word[k] = std::bit_cast<uint32_t>(context.Exp2((x - max) * scale));
      }
      StoreWords(weights, row.work + first, count, true);
    };
    ForIds<kWarps>(context, {0, row.vocab}, ruled ? row.Work() : row.Logits(), fill);
    context.Sync();
  }

  // Rules 6 to 8: what they keep.
  template <class Context>
  static QUIRE_DEVICE Boundary Filter(Context& context, const SampleRow& row, Room& room) {
    const SamplingRow& rules = *row.rules;
    Boundary kept = {0, row.vocab};
    for (int rule = 0; rule < 2; ++rule) {
      const bool by_mass = rule == 1;
      const bool wanted = by_mass ? rules.top_p < 1 : rules.top_k > 0 && rules.top_k < row.vocab;
      if (!wanted) continue;
      const Target target = {by_mass ? 0 : static_cast<uint64_t>(rules.top_k), rules.top_p};
      const WeightSource source = {row.work, kept, by_mass};
      kept = Stricter(kept, Select(context, room.select, row.vocab, source, target));
    }
    const float least = rules.min_p < 1 ? rules.min_p : 1.0f;
    if (!(least > 0)) return kept;
    const uint32_t key = WeightSource::KeyOfWeight(std::bit_cast<uint32_t>(least));
    return Stricter(kept, {key, row.vocab});
  }

  template <class Context>
  static QUIRE_DEVICE int32_t Draw(Context& context, const SampleRow& row, const Boundary& kept,
                                   Room& room) {
    const auto weight = [&](int32_t id, uint32_t word) {
      return kept.Keeps(WeightSource::KeyOfWeight(word), id) ? std::bit_cast<float>(word) : 0.0f;
    };
    const double uniform = PhiloxUniform(row.rules->seed, row.rules->counter);
    return FindInOrder<kThreads>(context, room.find, row.vocab, row.Work(), weight,
                                 [&](double total) { return uniform * total; });
  }

  // Collects the likeliest ids, in any order, in the work row; the rank of each among them is its
  // place.
  template <class Context>
  static QUIRE_DEVICE void WriteAlternatives(Context& context, const SampleRow& row, double log_sum,
                                             int32_t wanted, TokenLogprob* out, Room& room) {
    const LogitSource source = {&row};
    const Boundary kept =
        Select(context, room.select, row.vocab, source, {static_cast<uint64_t>(wanted), 0});
    if (context.Thread() == 0) room.found = 0;
    context.Sync();
    const auto collect = [&](int32_t first, int32_t count, const Words4& words) {
      for (int k = 0; k < 4; ++k) {
        const Ranked ranked = source.Rank(first + k, words.word[k]);
        if (k >= count || ranked.size == 0 || !kept.Keeps(ranked.key, first + k)) continue;
        row.work[context.AddShared(&room.found, 1)] = static_cast<uint32_t>(first + k);
      }
    };
    ForIds<kWarps>(context, {0, row.vocab}, source.Words(), collect);
    context.Sync();
    const uint32_t found = room.found;
    for (uint32_t i = static_cast<uint32_t>(context.Thread()); i < found; i += kThreads) {
      const uint32_t id = row.work[i];
      const uint64_t own = BestOf(row.logits[id], id);
      uint32_t rank = 0;
      for (uint32_t j = 0; j < found; ++j) {
        rank += BestOf(row.logits[row.work[j]], row.work[j]) > own;
      }
      out[rank] = {static_cast<int32_t>(id), LogprobOf(row, static_cast<int32_t>(id), log_sum)};
    }
  }
};

}  // namespace quire::kernels::cuda
