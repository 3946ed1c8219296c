#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/api/views.h"
#include "kernels/cuda/device/constants.h"
#include "kernels/cuda/device/words.cuh"

// What the parts of the sampling kernel share: one row, and how the threads of its block divide it.

namespace quire::kernels::cuda {

// Ids of a row that are summarised together.
inline constexpr int kSummaryIds = 4096;
QUIRE_DEVICE constexpr int32_t SummaryParts(int32_t vocab) {
  return (vocab + kSummaryIds - 1) / kSummaryIds;
}

struct SummaryPart {
  uint64_t best;  // BestOf; 0: all are at minus infinity
  double sum;     // of exponentials relative to the best's logit, where that is finite
};

struct SampleArgs {
  const BatchCounts* counts = nullptr;
  const float* logits = nullptr;  // [R, vocab]
  int32_t vocab = 0;
  const SamplingRow* rows = nullptr;
  const int32_t* history = nullptr;
  const LogitEdit* edits = nullptr;
  const int32_t* allowed = nullptr;
  const SampledToken* previous = nullptr;
  SampledToken* out = nullptr;
  TokenLogprob* alternatives = nullptr;
  int32_t max_alternatives = 0;
  // [blocks of the grid, SampleWorkStride(vocab)] scratch, aligned to 16 bytes. A block's row holds
  // in turn: how often ids were seen, the logits after the rules, weights, ids.
  uint32_t* work = nullptr;
  SummaryPart* summaries = nullptr;  // [R, SummaryParts(vocab)] scratch, from the first kernel
};

QUIRE_DEVICE constexpr int64_t SampleWorkStride(int64_t vocab) { return (vocab + 3) / 4 * 4; }

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Numbers that order as the floats do; -0 counts as 0, NaN as more than plus infinity.
QUIRE_DEVICE uint32_t KeyOf(float x) {
  if (x != x) return ~0u;
  const auto bits = std::bit_cast<uint32_t>(x + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

QUIRE_DEVICE float FloatOf(uint32_t key) {
  return std::bit_cast<float>((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

// The best id of a row as one number: the largest logit, the lowest id of equals.
QUIRE_DEVICE uint64_t BestOf(float logit, uint32_t id) {
  return static_cast<uint64_t>(KeyOf(logit)) << 32 | ~id;
}

QUIRE_DEVICE float LogitOf(uint64_t best) { return FloatOf(static_cast<uint32_t>(best >> 32)); }
QUIRE_DEVICE int32_t IdOf(uint64_t best) {
  return static_cast<int32_t>(~static_cast<uint32_t>(best));
}

// A number of 32 bits for every id.
struct IdWords {
  const uint32_t* words;
  bool aligned;
};

struct SampleRow {
  const float* logits;
  bool logits_aligned;
  int32_t vocab;
  uint32_t* work;
  const SamplingRow* rules;
  const SummaryPart* summaries;

  QUIRE_DEVICE IdWords Logits() const {
    return {reinterpret_cast<const uint32_t*>(logits), logits_aligned};
  }
  QUIRE_DEVICE IdWords Work() const { return {work, true}; }
};

// Ids of the row up to which those with an equal key are kept, and all with a larger key.
struct Boundary {
  uint32_t key = 0;
  int32_t last = 0;

  QUIRE_DEVICE bool Keeps(uint32_t other, int32_t id) const {
    return other > key || (other == key && id <= last);
  }
};

QUIRE_DEVICE Boundary Stricter(const Boundary& a, const Boundary& b) {
  if (a.key != b.key) return a.key > b.key ? a : b;
  return a.last < b.last ? a : b;
}

// Ids of [begin, end) that warp `warp` of `warps` works on.
struct IdRange {
  int32_t begin;
  int32_t end;
};

template <int kWarps>
QUIRE_DEVICE IdRange PartOf(const IdRange& ids, int warp) {
  constexpr int kUnit = 128;  // four ids a lane
  const int32_t part = ((ids.end - ids.begin + kWarps - 1) / kWarps + kUnit - 1) / kUnit * kUnit;
  const int64_t begin = ids.begin + int64_t{part} * warp;
  const int64_t end = begin + part;
  return {begin < ids.end ? static_cast<int32_t>(begin) : ids.end,
          end < ids.end ? static_cast<int32_t>(end) : ids.end};
}

// Calls body(first, count, words) for the groups of up to four ids that are this thread's, rising.
// Sixteen ids are on their way from memory at a time.
template <int kWarps, class Context, class Body>
QUIRE_DEVICE void ForIds(Context& context, const IdRange& ids, const IdWords& from, Body&& body) {
  constexpr int kGroups = 4;
  const IdRange part = PartOf<kWarps>(ids, context.Warp());
  for (int32_t i = part.begin + 4 * context.Lane(); i < part.end; i += 128 * kGroups) {
    Words4 words[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      const int32_t at = i + 128 * g;
      words[g] = LoadWords(from.words + at, part.end - at, from.aligned);
    }
    for (int g = 0; g < kGroups; ++g) {
      const int32_t at = i + 128 * g;
      if (at < part.end) body(at, part.end - at < 4 ? part.end - at : 4, words[g]);
    }
  }
}

}  // namespace quire::kernels::cuda
