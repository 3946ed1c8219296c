#pragma once

#include "kernels/cuda/device/annotations.h"

// Sums over a warp and a block in fixed trees: the same inputs give the same bits. All threads call
// what has Block in its name.

namespace quire::kernels::cuda {

// [warp] In every lane. Each step adds the same two numbers in either order.
template <class Context, typename T>
QUIRE_DEVICE T WarpSum(Context& context, T value) {
  for (int mask = 16; mask > 0; mask /= 2) value += context.ShuffleXor(value, mask);
  return value;
}

// In every thread. `room` has a place a warp; it is free again when the call returns.
template <int kWarps, class Context, typename T>
QUIRE_DEVICE T BlockSum(Context& context, T value, T* room) {
  value = WarpSum(context, value);
  if (context.Lane() == 0) room[context.Warp()] = value;
  context.Sync();
  T sum = room[0];
  for (int i = 1; i < kWarps; ++i) sum += room[i];
  context.Sync();
  return sum;
}

// Like BlockSum.
template <int kWarps, class Context, typename T>
QUIRE_DEVICE T BlockMax(Context& context, T value, T* room) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const T other = context.ShuffleXor(value, mask);
    if (other > value) value = other;
  }
  if (context.Lane() == 0) room[context.Warp()] = value;
  context.Sync();
  T max = room[0];
  for (int i = 1; i < kWarps; ++i) max = room[i] > max ? room[i] : max;
  context.Sync();
  return max;
}

// What the threads before have in sum, and *total of all.
template <int kWarps, class Context, typename T>
QUIRE_DEVICE T BlockSumBefore(Context& context, T value, T* room, T* total) {
  T sum = value;
  for (int delta = 1; delta < 32; delta *= 2) {
    const T lower = context.ShuffleUp(sum, delta);
    if (context.Lane() >= delta) sum += lower;
  }
  if (context.Lane() == 31) room[context.Warp()] = sum;
  context.Sync();
  T before = sum - value;
  *total = 0;
  for (int i = 0; i < kWarps; ++i) {
    if (i < context.Warp()) before += room[i];
    *total += room[i];
  }
  context.Sync();
  return before;
}

}  // namespace quire::kernels::cuda
