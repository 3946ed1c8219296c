#pragma once

#include <immintrin.h>

#include <cstdint>

// The vector operations of the AVX-512 BF16 tier. Same names as in vec_portable.h.

namespace quire::kernels {
namespace {

struct Avx512 {
  static constexpr int kLanes = 16;
  using F32 = __m512;
  using Words = __m512i;
  using I32 = __m512i;

  static __mmask16 Mask(int n) { return static_cast<__mmask16>((1u << n) - 1); }

  static F32 Zero() { return _mm512_setzero_ps(); }
  static F32 Set1(float x) { return _mm512_set1_ps(x); }
  static F32 Load(const float* p) { return _mm512_loadu_ps(p); }
  static F32 LoadN(const float* p, int n) { return _mm512_maskz_loadu_ps(Mask(n), p); }
  static void Store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
  static void StoreN(float* p, F32 x, int n) { _mm512_mask_storeu_ps(p, Mask(n), x); }
  static F32 LoadBf16N(const uint16_t* p, int n) {
    const __m512i halves = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(Mask(n), p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(halves, 16));
  }
  static void StoreBf16N(uint16_t* p, F32 x, int n) {
    const __m256i halves = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
    _mm256_mask_storeu_epi16(p, Mask(n), halves);
  }

  static F32 Add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
  static F32 Sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
  static F32 Mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
  static F32 Div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
  static F32 MulAdd(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
  static F32 Max(F32 a, F32 b) { return _mm512_max_ps(a, b); }  // b where either is NaN
  static F32 Abs(F32 x) { return _mm512_abs_ps(x); }
  static F32 CopySign(F32 magnitude, F32 sign) {
    return _mm512_or_ps(magnitude, _mm512_and_ps(sign, Set1(-0.0f)));
  }
  // Lane by lane: a < b ? x : y, which is y where a or b is NaN.
  static F32 IfLess(F32 a, F32 b, F32 x, F32 y) {
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x);
  }
  static float ReduceAdd(F32 x) { return _mm512_reduce_add_ps(x); }
  static float ReduceMax(F32 x) { return _mm512_reduce_max_ps(x); }
  static float Lane0(F32 x) { return _mm512_cvtss_f32(x); }
  static F32 FirstN(F32 x, int n, F32 rest) { return _mm512_mask_mov_ps(rest, Mask(n), x); }
  static bool AnyNan(F32 x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0; }
  // Index of the first lane that equals y; kLanes when none does.
  static int FindEqual(F32 x, F32 y) {
    return __builtin_ctz(static_cast<unsigned>(_mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ)) | 0x10000u);
  }

  static constexpr bool kScaleTakesAnyFinite = true;
  // 2^x split as 2^n * 2^f with f in [-0.5, 0.5]; 0 far below the smallest float.
  static F32 ClampExponent(F32 x) { return Max(Set1(-200.0f), x); }
  static F32 Round(F32 x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F32 Scale(F32 x, F32 n) { return _mm512_scalef_ps(x, n); }

  static Words LoadWords(const uint32_t* p) { return _mm512_loadu_si512(p); }
  static Words SetWord(uint32_t word) { return _mm512_set1_epi32(static_cast<int>(word)); }
  static Words LowHalves(Words x) { return _mm512_and_si512(x, _mm512_set1_epi32(0xffff)); }
  static Words HighHalves(Words x) { return _mm512_andnot_si512(_mm512_set1_epi32(0xffff), x); }
  static F32 DotF32(F32 acc, Words a, Words b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), acc);
  }
  static F32 DotBf16(F32 acc, Words a, Words b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(b), reinterpret_cast<__m512bh>(a));
  }

  static I32 ZeroI32() { return _mm512_setzero_si512(); }
  static I32 LoadI32(const int32_t* p) { return _mm512_loadu_si512(p); }
  static I32 AddI32(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
  static I32 MulI32(I32 a, I32 b) { return _mm512_mullo_epi32(a, b); }
  static I32 AsI32(Words x) { return x; }
  static F32 ToF32(I32 x) { return _mm512_cvtepi32_ps(x); }
  // acc + the products of the four bytes of each word, those of `a` unsigned and of `b` signed.
  static I32 DotBytes(I32 acc, Words a, Words b) {
    // GCC 12 copies the accumulator before each of these where it is an element of an array.
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
  }
  // Pairs of signed bytes as pairs of 16 bits.
  static Words LoadBytePairs(const uint16_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  // acc + the products of the signed halves of each word.
  static I32 DotHalves(I32 acc, Words a, Words b) {
    asm("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
  }
  // Integers that fit in 16 bits.
  static void StoreHalves(int16_t* p, F32 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
  }
  static void StoreWords(uint32_t* p, Words x) { _mm512_storeu_si512(p, x); }
  static Words LoadBytes(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Words And(Words a, Words b) { return _mm512_and_si512(a, b); }
  static Words Or(Words a, Words b) { return _mm512_or_si512(a, b); }
  template <int kBits>
  static Words ShiftLeft(Words x) {
    return _mm512_slli_epi32(x, kBits);
  }
  template <int kBits>
  static Words ShiftRight(Words x) {
    return _mm512_srli_epi32(x, kBits);
  }
  static Words MulHalves(Words a, Words b) { return _mm512_mullo_epi16(a, b); }
  static Words SubBytes(Words a, Words b) { return _mm512_sub_epi8(a, b); }
  // Integers from -128 to 127, 128 added to each.
  static void StoreBytesN(uint8_t* p, F32 x, int n) {
    const __m512i bytes = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(128));
    _mm512_mask_cvtepi32_storeu_epi8(p, Mask(n), bytes);
  }
};

}  // namespace
}  // namespace quire::kernels
