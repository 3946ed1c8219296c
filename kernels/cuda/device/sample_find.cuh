#pragma once

#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/sample_row.cuh"

// Where a running sum over the ids of a row, in their order, passes a target: warps sum a part
// each, the part that holds the place is divided anew, until one warp sees it whole.

namespace quire::kernels::cuda {

template <int kThreads>
struct FindRoom {
  double sums[kThreads / 32];
};

// A part of a row and what is left of the target where it begins.
struct Place {
  IdRange ids;
  double target;
};

// The first part whose running sum is above the target, else the last with a sum at all: rounding
// can leave the target just out of reach.
template <int kWarps>
QUIRE_DEVICE Place PartWithTarget(const double* sums, const Place& place) {
  int chosen = 0;
  double below = 0;
  for (int i = 0; i < kWarps && below + sums[chosen] <= place.target; ++i) {
    if (sums[i] <= 0) continue;
    if (i != chosen) below += sums[chosen];
    chosen = i;
  }
  return {PartOf<kWarps>(place.ids, chosen), place.target - below};
}

// [warp] The same among at most 128 ids.
template <class Context, class ValueOf>
QUIRE_DEVICE int32_t IdWithTarget(Context& context, const Place& place, const IdWords& from,
                                  ValueOf&& value_of) {
  const int32_t first = place.ids.begin + 4 * context.Lane();
  const Words4 words = LoadWords(from.words + first, place.ids.end - first, from.aligned);
  float values[4];
  double running[4];
  double own = 0;
  for (int k = 0; k < 4; ++k) {
    const int32_t id = first + k;
    values[k] = id < place.ids.end ? value_of(id, words.word[k]) : 0;
    running[k] = own += values[k];
  }
  double sum = own;
  for (int delta = 1; delta < 32; delta *= 2) {
    const double lower = context.ShuffleUp(sum, delta);
    if (context.Lane() >= delta) sum += lower;
  }
  const double before = context.ShuffleUp(sum, 1);
  const double left = context.Lane() == 0 ? place.target : place.target - before;
  int32_t id = first;
  bool passes = false;
  for (int k = 0; k < 4; ++k) {
    if (passes || values[k] <= 0) continue;
    id = first + k;
    passes = running[k] > left;
  }
  const uint32_t passing = context.Ballot(passes);
  const uint32_t positive = context.Ballot(own > 0);
  int lane = 0;
  while (passing != 0 && (passing >> lane & 1) == 0) ++lane;
  if (passing == 0) {
    for (lane = 31; lane > 0 && (positive >> lane & 1) == 0;) --lane;
  }
  return context.Shuffle(id, lane);
}

// The id at which the sum passes target_of(total); value_of(id, word) gives an id's value: none is
// negative, and not all are zero. All threads of the block call it.
template <int kThreads, class Context, class ValueOf, class TargetOf>
QUIRE_DEVICE int32_t FindInOrder(Context& context, FindRoom<kThreads>& room, int32_t vocab,
                                 const IdWords& from, ValueOf&& value_of, TargetOf&& target_of) {
  constexpr int kWarps = kThreads / 32;
  Place place = {{0, vocab}, 0};
  for (bool whole = true; whole || place.ids.end - place.ids.begin > 128; whole = false) {
    float sum = 0;
    const auto add = [&](int32_t first, int32_t count, const Words4& words) {
      for (int k = 0; k < 4; ++k) {
        if (k < count) sum += value_of(first + k, words.word[k]);
      }
    };
    ForIds<kWarps>(context, place.ids, from, add);
    const double warps_sum = WarpSum(context, static_cast<double>(sum));
    if (context.Lane() == 0) room.sums[context.Warp()] = warps_sum;
    context.Sync();
    if (whole) {
      double total = 0;
      for (int i = 0; i < kWarps; ++i) total += room.sums[i];
      place.target = target_of(total);
    }
    place = PartWithTarget<kWarps>(room.sums, place);
    context.Sync();
  }
  return IdWithTarget(context, place, from, value_of);
}

}  // namespace quire::kernels::cuda
