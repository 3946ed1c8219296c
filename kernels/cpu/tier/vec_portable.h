#pragma once

#include <cstdint>

// The vector operations of the portable tier: 16-byte vectors of the compilers' own extension,
// which become SSE2, NEON or scalar code. Same names as in vec_avx512.h.

namespace quire::kernels {
namespace {

struct Portable {
  static constexpr int kLanes = 4;
  typedef float F32 __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(16)));
  typedef int32_t I32 __attribute__((vector_size(16)));
  typedef uint16_t Halves __attribute__((vector_size(16)));
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  typedef int16_t SignedHalves __attribute__((vector_size(16)));
  typedef int8_t SignedBytes __attribute__((vector_size(8)));

  static F32 AsF32(Words x) { return reinterpret_cast<F32>(x); }
  static Words AsWords(F32 x) { return reinterpret_cast<Words>(x); }
  static F32 Select(Words mask, F32 a, F32 b) {
    return AsF32((mask & AsWords(a)) | (~mask & AsWords(b)));
  }
  static Words Mask(int n) {
    const Words lane = {0, 1, 2, 3};
    const Words limit = SetWord(static_cast<uint32_t>(n));
    return reinterpret_cast<Words>(lane < limit);
  }

  static F32 Zero() { return F32{}; }
  static F32 Set1(float x) { return F32{x, x, x, x}; }
  static F32 Load(const float* p) {
    F32 x;
    __builtin_memcpy(&x, p, sizeof(x));
    return x;
  }
  static F32 LoadN(const float* p, int n) {
    F32 x = Zero();
    for (int i = 0; i < n && i < kLanes; ++i) x[i] = p[i];
    return x;
  }
  static void Store(float* p, F32 x) { __builtin_memcpy(p, &x, sizeof(x)); }
  static void StoreN(float* p, F32 x, int n) {
    for (int i = 0; i < n && i < kLanes; ++i) p[i] = x[i];
  }
  static F32 LoadBf16N(const uint16_t* p, int n) {
    Words x = {};
    for (int i = 0; i < n && i < kLanes; ++i) x[i] = p[i];
    return AsF32(x << 16);
  }
  static void StoreBf16N(uint16_t* p, F32 x, int n) {
    const Words bits = AsWords(x);
    const Words even = (bits >> 16) & SetWord(1);
    const Words rounded = (bits + SetWord(0x7fff) + even) >> 16;
    const Words nan = reinterpret_cast<Words>(x != x);  // NOLINT(misc-redundant-expression)
    const Words halves = (nan & ((bits >> 16) | SetWord(0x40))) | (~nan & rounded);
    for (int i = 0; i < n && i < kLanes; ++i) p[i] = static_cast<uint16_t>(halves[i]);
  }

  static F32 Add(F32 a, F32 b) { return a + b; }
  static F32 Sub(F32 a, F32 b) { return a - b; }
  static F32 Mul(F32 a, F32 b) { return a * b; }
  static F32 Div(F32 a, F32 b) { return a / b; }
  static F32 MulAdd(F32 a, F32 b, F32 c) { return a * b + c; }
  // b where either is NaN
  static F32 Max(F32 a, F32 b) { return Select(reinterpret_cast<Words>(a > b), a, b); }
  static F32 Abs(F32 x) { return AsF32(AsWords(x) & SetWord(0x7fffffffu)); }
  static F32 CopySign(F32 magnitude, F32 sign) {
    return AsF32(AsWords(magnitude) | (AsWords(sign) & SetWord(0x80000000u)));
  }
  // Lane by lane: a < b ? x : y, which is y where a or b is NaN.
  static F32 IfLess(F32 a, F32 b, F32 x, F32 y) {
    return Select(reinterpret_cast<Words>(a < b), x, y);
  }
  static float ReduceAdd(F32 x) { return (x[0] + x[2]) + (x[1] + x[3]); }
  static float ReduceMax(F32 x) {
    const F32 swapped = {x[2], x[3], x[0], x[1]};
    const F32 pairs = Max(x, swapped);
    return pairs[0] > pairs[1] ? pairs[0] : pairs[1];
  }
  static float Lane0(F32 x) { return x[0]; }
  static F32 FirstN(F32 x, int n, F32 rest) { return Select(Mask(n), x, rest); }
  static bool AnyNan(F32 x) { return x[0] != x[0] || x[1] != x[1] || x[2] != x[2] || x[3] != x[3]; }
  static int FindEqual(F32 x, F32 y) {
    for (int i = 0; i < kLanes; ++i) {
      if (x[i] == y[i]) return i;
    }
    return kLanes;
  }

  static constexpr bool kScaleTakesAnyFinite = false;
  // Stays where Scale can build the exponent; what lies below becomes 0 there.
  static F32 ClampExponent(F32 x) {
    const F32 low = Max(Set1(-127.0f), x);
    return Select(reinterpret_cast<Words>(low > Set1(127.0f)), Set1(127.0f), low);
  }
  static F32 Round(F32 x) {
    const F32 magic = Set1(12582912.0f);  // 1.5 * 2^23: no fraction bits are left
    return (x + magic) - magic;
  }
  static F32 Scale(F32 x, F32 n) {
    const Words exponent = AsWords(n + Set1(12582912.0f + 127.0f));  // n + 127 in the low bits
    const F32 power = AsF32(exponent << 23);
    return Select(reinterpret_cast<Words>(n < Set1(-126.0f)), Zero(), x * power);
  }

  static Words LoadWords(const uint32_t* p) {
    Words x;
    __builtin_memcpy(&x, p, sizeof(x));
    return x;
  }
  static Words SetWord(uint32_t word) { return Words{word, word, word, word}; }
  static Words LowHalves(Words x) { return x & SetWord(0xffff); }
  static Words HighHalves(Words x) { return x & SetWord(0xffff0000u); }
  static F32 DotF32(F32 acc, Words a, Words b) { return acc + AsF32(a) * AsF32(b); }
  static F32 DotBf16(F32 acc, Words a, Words b) {
    const Words high = SetWord(0xffff0000u);
    acc = acc + AsF32(a << 16) * AsF32(b << 16);
    return acc + AsF32(a & high) * AsF32(b & high);
  }

  static I32 ZeroI32() { return I32{}; }
  static I32 LoadI32(const int32_t* p) {
    I32 x;
    __builtin_memcpy(&x, p, sizeof(x));
    return x;
  }
  static I32 AddI32(I32 a, I32 b) { return a + b; }
  static I32 MulI32(I32 a, I32 b) { return a * b; }
  static I32 AsI32(Words x) { return reinterpret_cast<I32>(x); }
  static F32 ToF32(I32 x) { return __builtin_convertvector(x, F32); }
  // acc + the products of the four bytes of each word, those of `a` unsigned and of `b` signed.
  static I32 DotBytes(I32 acc, Words a, Words b) {
    const auto signed_byte = [b](int bits) { return reinterpret_cast<I32>(b << bits) >> 24; };
    const Words byte = SetWord(0xff);
    acc += reinterpret_cast<I32>(a & byte) * signed_byte(24);
    acc += reinterpret_cast<I32>((a >> 8) & byte) * signed_byte(16);
    acc += reinterpret_cast<I32>((a >> 16) & byte) * signed_byte(8);
    return acc + reinterpret_cast<I32>(a >> 24) * signed_byte(0);
  }
  // Pairs of signed bytes as pairs of 16 bits.
  static Words LoadBytePairs(const uint16_t* p) {
    SignedBytes bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    return reinterpret_cast<Words>(__builtin_convertvector(bytes, SignedHalves));
  }
  // acc + the products of the signed halves of each word.
  static I32 DotHalves(I32 acc, Words a, Words b) {
    acc += (reinterpret_cast<I32>(a << 16) >> 16) * (reinterpret_cast<I32>(b << 16) >> 16);
    return acc + (reinterpret_cast<I32>(a) >> 16) * (reinterpret_cast<I32>(b) >> 16);
  }
  // Integers that fit in 16 bits.
  static void StoreHalves(int16_t* p, F32 x) {
    for (int i = 0; i < kLanes; ++i) {
      const auto half = static_cast<int16_t>(x[i]);
      __builtin_memcpy(p + i, &half, sizeof(half));
    }
  }
  static void StoreWords(uint32_t* p, Words x) { __builtin_memcpy(p, &x, sizeof(x)); }
  static Words LoadBytes(const uint8_t* p) { return Words{p[0], p[1], p[2], p[3]}; }
  static Words And(Words a, Words b) { return a & b; }
  static Words Or(Words a, Words b) { return a | b; }
  template <int kBits>
  static Words ShiftLeft(Words x) {
    return x << kBits;
  }
  template <int kBits>
  static Words ShiftRight(Words x) {
    return x >> kBits;
  }
  static Words MulHalves(Words a, Words b) {
    return reinterpret_cast<Words>(reinterpret_cast<Halves>(a) * reinterpret_cast<Halves>(b));
  }
  static Words SubBytes(Words a, Words b) {
    return reinterpret_cast<Words>(reinterpret_cast<Bytes>(a) - reinterpret_cast<Bytes>(b));
  }
  // Integers from -128 to 127, 128 added to each.
  static void StoreBytesN(uint8_t* p, F32 x, int n) {
    for (int i = 0; i < n && i < kLanes; ++i) p[i] = static_cast<uint8_t>(x[i] + 128.0f);
  }
};

}  // namespace
}  // namespace quire::kernels
