#pragma once

#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/sample_find.cuh"
#include "kernels/cuda/device/sample_row.cuh"

// Selection without a sort: the boundary behind the best ids of a row, found by counting ids by the
// leading bits of their keys, then by the next bits of those in the bucket at the boundary.
// Everything that is added up is an integer, so the order of additions does not matter.

namespace quire::kernels::cuda {

inline constexpr int kKeyBits = 11;  // a round looks at
inline constexpr int kBuckets = 1 << kKeyBits;

// An id as the selection sees it. Keys order; sizes add up to what is asked for. Size 0: not there.
struct Ranked {
  uint32_t key;
  uint64_t size;
};

template <int kThreads>
struct SelectRoom {
  uint32_t low[kBuckets];  // sums of sizes
  uint32_t high[kBuckets];
  uint64_t sums[kThreads / 32];
  FindRoom<kThreads> find;
  // What FindBucket found.
  int32_t bucket;
  uint64_t before;  // the sizes in buckets above
  uint64_t size;    // of the bucket
};

// What is wanted of all sizes together: `units` of them, or else a `share`, at least 1 unit.
struct Target {
  uint64_t units;
  double share;
};

QUIRE_DEVICE uint64_t UnitsOf(const Target& target, uint64_t total) {
  if (target.units > 0) return target.units;
  const double exact = target.share * static_cast<double>(total);
  auto units = static_cast<uint64_t>(exact);
  if (static_cast<double>(units) < exact) ++units;
  return units < 1 ? 1 : units < total ? units : total;
}

template <class Context>
QUIRE_DEVICE void AddSize(Context& context, uint32_t* low, uint32_t* high, uint64_t size) {
  const auto part = static_cast<uint32_t>(size);
  const uint32_t before = context.AddShared(low, part);
  const uint32_t carry = before + part < before ? 1 : 0;
  const uint32_t rest = static_cast<uint32_t>(size >> 32) + carry;
  if (rest != 0) context.AddShared(high, rest);
}

// Finds the bucket where the running sum from the top reaches left_of(total), which no bucket need
// do, and returns the total.
template <int kThreads, class Context, class Left>
QUIRE_DEVICE uint64_t FindBucket(Context& context, SelectRoom<kThreads>& room, Left&& left_of) {
  constexpr int kOwn = kBuckets / kThreads;
  const int top = kBuckets - 1 - context.Thread() * kOwn;
  uint64_t own = 0;
  for (int i = 0; i < kOwn; ++i) own += uint64_t{room.high[top - i]} << 32 | room.low[top - i];
  uint64_t total = 0;
  uint64_t before = BlockSumBefore<kThreads / 32>(context, own, room.sums, &total);
  const uint64_t left = left_of(total);
  if (before < left && left <= before + own) {
    for (int bucket = top;; --bucket) {
      const uint64_t size = uint64_t{room.high[bucket]} << 32 | room.low[bucket];
      if (before + size >= left) {
        room.bucket = bucket;
        room.before = before;
        room.size = size;
        break;
      }
      before += size;
    }
  }
  context.Sync();
  return total;
}

// Ids with exactly `key`, of which the lowest are kept until their sizes reach `left`.
template <int kThreads, class Context, class Source>
QUIRE_DEVICE Boundary BoundaryAmongEquals(Context& context, SelectRoom<kThreads>& room,
                                          int32_t vocab, const Source& source, uint32_t key,
                                          uint64_t left) {
  const uint64_t size = source.SizeOf(key);
  const uint64_t wanted = (left + size - 1) / size;
  if (wanted >= room.size / size) return {key, vocab};
  const auto equal = [&](int32_t id, uint32_t word) {
    const Ranked ranked = source.Rank(id, word);
    return ranked.size > 0 && ranked.key == key ? 1.0f : 0.0f;
  };
  const int32_t last =
      FindInOrder<kThreads>(context, room.find, vocab, source.Words(), equal,
                            [&](double) { return static_cast<double>(wanted) - 0.5; });
  return {key, last};
}

// One round: the sizes of the ids whose keys begin with `key`, by the `bits` bits that follow.
template <int kThreads, class Context, class Source>
QUIRE_DEVICE void FillBuckets(Context& context, SelectRoom<kThreads>& room, int32_t vocab,
                              const Source& source, uint32_t key, int shift, int bits) {
  for (int i = context.Thread(); i < kBuckets; i += kThreads) room.low[i] = room.high[i] = 0;
  context.Sync();
  const auto add = [&](int32_t first, int32_t count, const Words4& words) {
    for (int k = 0; k < 4; ++k) {
      if (k >= count) continue;
      const Ranked ranked = source.Rank(first + k, words.word[k]);
      const uint32_t leading = ranked.key >> shift;
      if (ranked.size == 0 || leading >> bits != key) continue;
      const uint32_t bucket = leading & ((1u << bits) - 1);
      AddSize(context, room.low + bucket, room.high + bucket, ranked.size);
    }
  };
  ForIds<kThreads / 32>(context, {0, vocab}, source.Words(), add);
  context.Sync();
}

// The shortest run of ids, from the largest key and the lowest of equal ids on, whose sizes reach
// the target; all ids where they do not. The source has the row's Words(), Rank(id, word) and
// SizeOf(key), the size of all ids with that key.
template <int kThreads, class Context, class Source>
QUIRE_DEVICE Boundary Select(Context& context, SelectRoom<kThreads>& room, int32_t vocab,
                             const Source& source, const Target& target) {
  uint64_t left = 0;
  uint32_t key = 0;
  for (int shift = 32; shift > 0;) {
    const bool first = shift == 32;
    const int bits = shift < kKeyBits ? shift : kKeyBits;
    shift -= bits;
    FillBuckets(context, room, vocab, source, key, shift, bits);
    const uint64_t total = FindBucket(
        context, room, [&](uint64_t sum) { return first ? UnitsOf(target, sum) : left; });
    if (first) left = UnitsOf(target, total);
    if (first && left > total) return {0, vocab};
    left -= room.before;
    key = key << bits | static_cast<uint32_t>(room.bucket);
  }
  return BoundaryAmongEquals(context, room, vocab, source, key, left);
}

}  // namespace quire::kernels::cuda
