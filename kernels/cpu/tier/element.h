#pragma once

#include <cstdint>

// The two element types a kernel computes in, over a tier's vectors V.

namespace quire::kernels {
namespace {

inline constexpr int kIntoL2 = 2;          // of prefetches
inline constexpr int64_t kLineWords = 16;  // of the cache

template <class V>
struct F32Element {
  using Vec = V;
  using Storage = float;
  static constexpr int kPerWord = 1;
  static typename V::F32 Dot(typename V::F32 acc, typename V::Words a, typename V::Words b) {
    return V::DotF32(acc, a, b);
  }
  static typename V::F32 LoadN(const Storage* p, int n) { return V::LoadN(p, n); }
  static void StoreN(Storage* p, typename V::F32 x, int n) { V::StoreN(p, x, n); }
};

template <class V>
struct Bf16Element {
  using Vec = V;
  using Storage = uint16_t;
  static constexpr int kPerWord = 2;
  static typename V::F32 Dot(typename V::F32 acc, typename V::Words a, typename V::Words b) {
    return V::DotBf16(acc, a, b);
  }
  static typename V::F32 LoadN(const Storage* p, int n) { return V::LoadBf16N(p, n); }
  static void StoreN(Storage* p, typename V::F32 x, int n) { V::StoreBf16N(p, x, n); }
};

inline uint32_t LoadWord(const void* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return word;
}

template <class T>
T Smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T Larger(T a, T b) {
  return a < b ? b : a;
}

// 2^x: Cody-Waite split and the degree-5 minimax polynomial with p(0) = 1 (relative error 9.2e-8),
// so that 2^0 is exactly 1. NaN stays NaN.
template <class V>
typename V::F32 Exp2InRange(typename V::F32 x) {
  const typename V::F32 n = V::Round(x);
  const typename V::F32 f = V::Sub(x, n);
  typename V::F32 p = V::Set1(0.00132647239f);
  p = V::MulAdd(p, f, V::Set1(0.00967151287f));
  p = V::MulAdd(p, f, V::Set1(0.0555073375f));
  p = V::MulAdd(p, f, V::Set1(0.240222421f));
  p = V::MulAdd(p, f, V::Set1(0.693146978f));
  p = V::MulAdd(p, f, V::Set1(1.0f));
  return V::Scale(p, n);
}

template <class V>
typename V::F32 Exp2(typename V::F32 x) {
  return Exp2InRange<V>(V::ClampExponent(x));
}

// For an x that is finite (or NaN); the same bits as Exp2.
template <class V>
typename V::F32 Exp2OfFinite(typename V::F32 x) {
  return Exp2InRange<V>(V::kScaleTakesAnyFinite ? x : V::ClampExponent(x));
}

inline constexpr float kLog2E = 1.44269504f;

// tanh(x): an odd minimax polynomial (relative error 3e-9) where 1 - e^-2|x| would cancel, else
// (1 - e^-2|x|) / (1 + e^-2|x|). NaN stays NaN.
template <class V>
typename V::F32 Tanh(typename V::F32 x) {
  const typename V::F32 a = V::Abs(x);
  const typename V::F32 square = V::Mul(a, a);
  typename V::F32 p = V::Set1(-0.00589515618f);
  p = V::MulAdd(p, square, V::Set1(0.0207959712f));
  p = V::MulAdd(p, square, V::Set1(-0.0537838303f));
  p = V::MulAdd(p, square, V::Set1(0.133319236f));
  p = V::MulAdd(p, square, V::Set1(-0.333332977f));
  const typename V::F32 small = V::MulAdd(V::Mul(a, square), p, a);
  const typename V::F32 e = Exp2<V>(V::Mul(a, V::Set1(-2 * kLog2E)));
  const typename V::F32 one = V::Set1(1.0f);
  const typename V::F32 large = V::Div(V::Sub(one, e), V::Add(one, e));
  return V::CopySign(V::IfLess(a, V::Set1(0.6f), small, large), x);
}

}  // namespace
}  // namespace quire::kernels
