#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/tier/element.h"

// What keys and values are stored as, for the attention kernel.

namespace quire::kernels {
namespace {

// In the type that is computed in.
template <class E>
struct DenseKv {
  using V = typename E::Vec;
  using Word = uint32_t;
  using Sum = typename V::F32;
  static constexpr int kPerWord = E::kPerWord;
  static constexpr bool kScaled = false;
  static constexpr bool kInTiles = false;  // multiplied by AMX

  static Sum Zero() { return V::Zero(); }
  static typename V::Words LoadWords(const Word* p) { return V::LoadWords(p); }
  static Sum Dot(Sum acc, typename V::Words a, typename V::Words b) { return E::Dot(acc, a, b); }
  static typename V::F32 ToF32(Sum x) { return x; }

  // A row of queries as words; returns what products with it are to be multiplied with.
  template <class Q>
  static float LoadQuery(const typename Q::Storage* q, int32_t dim, uint32_t* words) {
    __builtin_memcpy(words, q, static_cast<size_t>(dim / kPerWord) * sizeof(*words));
    return 1;
  }
};

// Integers of 16 bits, 32767 steps from 0 to the largest of x[begin, end). Returns a step, NaN
// where an element is not finite.
template <class V, class LoadFn>
float QuantizeHalves(int32_t begin, int32_t end, LoadFn&& load, int16_t* out) {
  typename V::F32 largest = V::Zero();
  typename V::F32 poison = V::Zero();
  for (int32_t i = begin; i < end; i += V::kLanes) {
    const typename V::F32 x = load(i);
    largest = V::Max(V::Abs(x), largest);
    poison = V::Add(poison, V::Mul(x, V::Zero()));
  }
  const float most = V::ReduceMax(largest);
  // Too small to invert: as good as zero.
  const typename V::F32 inverse = V::Set1(most > 1e-30f ? 32767.0f / most : 0.0f);
  for (int32_t i = begin; i < end; i += V::kLanes) {
    const typename V::F32 scaled = V::Max(V::Mul(load(i), inverse), V::Set1(-32767.0f));
    V::StoreHalves(out + i, V::Round(scaled));
  }
  return most / 32767.0f + V::ReduceAdd(poison);
}

// Integers of 8 bits with an f32 scale for each token of a group. Queries and probabilities are
// taken in 16 bits, which adds next to nothing to the error of the 8; sums of products are exact:
// 127 * 32767 * 256 elements fit in 31 bits.
template <class Vec>
struct Int8Kv {
  using V = Vec;
  using Word = uint16_t;  // two elements of 8 bits
  using Sum = typename V::I32;
  static constexpr int kPerWord = 2;
  static constexpr bool kScaled = true;
  static constexpr bool kInTiles = false;

  static Sum Zero() { return V::ZeroI32(); }
  static typename V::Words LoadWords(const Word* p) { return V::LoadBytePairs(p); }
  static Sum Dot(Sum acc, typename V::Words a, typename V::Words b) {
    return V::DotHalves(acc, a, b);
  }
  static typename V::F32 ToF32(Sum x) { return V::ToF32(x); }

  template <class Q>
  static float LoadQuery(const typename Q::Storage* q, int32_t dim, uint32_t* words) {
    return QuantizeHalves<V>(
        0, dim, [q](int32_t i) { return Q::LoadN(q + i, V::kLanes); },
        reinterpret_cast<int16_t*>(words));
  }
  // Words of all `tokens`, of which those outside [begin, end) are 0.
  static float QuantizeProbs(const float* probs, int32_t begin, int32_t end, int32_t tokens,
                             uint32_t* words) {
    __builtin_memset(words, 0, static_cast<size_t>(tokens) * sizeof(int16_t));
    return QuantizeHalves<V>(
        begin, end, [probs](int32_t i) { return V::Load(probs + i); },
        reinterpret_cast<int16_t*>(words));
  }
};

}  // namespace
}  // namespace quire::kernels
