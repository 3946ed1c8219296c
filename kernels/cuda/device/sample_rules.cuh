#pragma once

#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/sample_row.cuh"

// Rules 1 to 4 of SamplingRow. First every place of the work row says, in the bits of a NaN,
// whether the id is allowed and how often it was seen. Then edited ids and, last, all others become
// logits.

namespace quire::kernels::cuda {

// A place of the work row before it is a logit: kPlain + kAllowed + kSeen + n * kGenerated for n
// occurrences among the generated ids, at most 2^21 - 3 of one id.
inline constexpr uint32_t kPlain = 0xff800008u;
inline constexpr uint32_t kAllowed = 1;
inline constexpr uint32_t kSeen = 2;
inline constexpr uint32_t kGenerated = 4;

QUIRE_DEVICE bool IsLogit(uint32_t word) { return word < kPlain; }

QUIRE_DEVICE bool HasPenalty(const SamplingRow& row, int32_t last) {
  return (row.history_count > 0 || last >= 0) &&
         (row.repetition_penalty != 1 || row.frequency_penalty != 0 || row.presence_penalty != 0);
}

QUIRE_DEVICE bool HasRules(const SamplingRow& row, int32_t last) {
  return row.allowed_count > 0 || row.edits_count > 0 || HasPenalty(row, last);
}

// Never NaN, so that IsLogit holds for its bits.
QUIRE_DEVICE float Penalised(float x, uint32_t word, const SamplingRow& row) {
  const uint32_t counts = word - kPlain;
  if ((counts & kSeen) != 0) {
    x = x > 0 ? x / row.repetition_penalty : x * row.repetition_penalty;
    const uint32_t times = counts / kGenerated;
    if (times > 0) x -= static_cast<float>(times) * row.frequency_penalty + row.presence_penalty;
  }
  return x == x ? x : kMinusInfinity;
}

// Steps of RuledBest; threads share out each, and each ends with a Sync.
template <int kThreads>
struct LogitRules {
  static constexpr int kWarps = kThreads / 32;

  template <class Context>
  static QUIRE_DEVICE void Mark(Context& context, const SampleArgs& args, const SampleRow& row,
                                int32_t last) {
    const SamplingRow& rules = *row.rules;
    const uint32_t start = kPlain + (rules.allowed_count == 0 ? kAllowed : 0);
    for (int32_t i = 4 * context.Thread(); i < row.vocab; i += 4 * kThreads) {
      StoreWords({{start, start, start, start}}, row.work + i, row.vocab - i, true);
    }
    context.Sync();
    for (int32_t i = context.Thread(); i < rules.allowed_count; i += kThreads) {
      const int32_t id = args.allowed[rules.allowed_start + i];
      if (IsId(id, row)) row.work[id] = kPlain + kAllowed;
    }
    context.Sync();
    if (HasPenalty(rules, last)) MarkHistory(context, args, row, last);
  }

  template <class Context>
  static QUIRE_DEVICE void MarkHistory(Context& context, const SampleArgs& args,
                                       const SampleRow& row, int32_t last) {
    const SamplingRow& rules = *row.rules;
    const int32_t* const history = args.history + rules.history_start;
    const int32_t count = rules.history_count;
    // Many threads may mark one id: all write the same.
    for (int32_t i = context.Thread(); i < count; i += kThreads) {
      if (IsId(history[i], row)) row.work[history[i]] |= kSeen;
    }
    if (context.Thread() == 0 && IsId(last, row)) row.work[last] |= kSeen;
    context.Sync();
    for (int32_t i = count - rules.history_generated + context.Thread(); i < count; i += kThreads) {
      if (IsId(history[i], row)) context.AddGlobal(row.work + history[i], kGenerated);
    }
    if (context.Thread() == 0 && IsId(last, row)) context.AddGlobal(row.work + last, kGenerated);
    context.Sync();
  }

  // The thread of an edit makes all those of its id, in their order. Where an id has several, their
  // threads write the same, or see that it is done.
  template <class Context>
  static QUIRE_DEVICE void Edit(Context& context, const SampleArgs& args, const SampleRow& row,
                                int32_t last) {
    const LogitEdit* const edits = args.edits + row.rules->edits_start;
    const int32_t count = row.rules->edits_count;
    for (int32_t i = context.Thread(); i < count; i += kThreads) {
      const int32_t id = edits[i].token;
      if (!IsId(id, row)) continue;
      // Read once: another thread of the id may make it a logit meanwhile.
      const uint32_t word = *static_cast<const volatile uint32_t*>(row.work + id);
      if (IsLogit(word)) continue;
      float x = Start(row, id, word);
      for (int32_t j = 0; j < count; ++j) {
        const bool applies = edits[j].after < 0 || edits[j].after == last;
        if (edits[j].token == id && applies) x += edits[j].bias;
      }
      row.work[id] = std::bit_cast<uint32_t>(Penalised(x, word, *row.rules));
    }
    context.Sync();
  }

  // Returns the best id and its logit.
  template <class Context>
  static QUIRE_DEVICE uint64_t Finish(Context& context, const SampleRow& row, uint64_t* room) {
    uint64_t best = 0;
    const auto finish = [&](int32_t i, int32_t count, const Words4& words) {
      const Floats4 raw = LoadFloats(row.logits + i, count, row.logits_aligned);
      Words4 logits;
      for (int k = 0; k < 4; ++k) {
        const uint32_t word = words.word[k];
        const float start = ((word - kPlain) & kAllowed) != 0 ? raw.x[k] : kMinusInfinity;
        const float x =
            IsLogit(word) ? std::bit_cast<float>(word) : Penalised(start, word, *row.rules);
        logits.word[k] = std::bit_cast<uint32_t>(x);
        const uint64_t own = BestOf(x, static_cast<uint32_t>(i + k));
        if (k < count && own > best) best = own;
      }
      StoreWords(logits, row.work + i, count, true);
    };
    ForIds<kWarps>(context, {0, row.vocab}, row.Work(), finish);
    return BlockMax<kWarps>(context, best, room);
  }

  static QUIRE_DEVICE bool IsId(int32_t id, const SampleRow& row) {
    return id >= 0 && id < row.vocab;
  }

  static QUIRE_DEVICE float Start(const SampleRow& row, int32_t id, uint32_t word) {
    return ((word - kPlain) & kAllowed) != 0 ? row.logits[id] : kMinusInfinity;
  }
};

// Leaves the logits after the rules in the work row. `last` is the id sampled in the row's
// history_row, -1 without one.
template <int kThreads, class Context>
QUIRE_DEVICE uint64_t RuledBest(Context& context, const SampleArgs& args, const SampleRow& row,
                                int32_t last, uint64_t* room) {
  using Rules = LogitRules<kThreads>;
  Rules::Mark(context, args, row, last);
  if (row.rules->edits_count > 0) Rules::Edit(context, args, row, last);
  return Rules::Finish(context, row, room);
}

}  // namespace quire::kernels::cuda
