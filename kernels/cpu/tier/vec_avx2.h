#pragma once

#include <immintrin.h>

#include <cstdint>

// The vector operations of the AVX2 tier. Same names as in vec_avx512.h and vec_portable.h.

namespace quire::kernels {
namespace {

struct Avx2 {
  static constexpr int kLanes = 8;
  using F32 = __m256;
  using Words = __m256i;
  using I32 = __m256i;

  static F32 AsF32(Words x) { return _mm256_castsi256_ps(x); }
  static Words AsWords(F32 x) { return _mm256_castps_si256(x); }
  static Words Mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static F32 Zero() { return _mm256_setzero_ps(); }
  static F32 Set1(float x) { return _mm256_set1_ps(x); }
  static F32 Load(const float* p) { return _mm256_loadu_ps(p); }
  // Whole vectors go without a mask: a masked store takes tens of cycles on some processors.
  static F32 LoadN(const float* p, int n) {
    return n >= kLanes ? Load(p) : _mm256_maskload_ps(p, Mask(n));
  }
  static void Store(float* p, F32 x) { _mm256_storeu_ps(p, x); }
  static void StoreN(float* p, F32 x, int n) {
    if (n >= kLanes) return Store(p, x);
    _mm256_maskstore_ps(p, Mask(n), x);
  }
  static F32 LoadBf16N(const uint16_t* p, int n) {
    uint16_t all[kLanes] = {};
    for (int i = 0; n < kLanes && i < n; ++i) all[i] = p[i];
    const auto* from = reinterpret_cast<const __m128i*>(n >= kLanes ? p : all);
    return AsF32(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(from)), 16));
  }
  static void StoreBf16N(uint16_t* p, F32 x, int n) {
    const __m128i halves = RoundToBf16(x);
    if (n >= kLanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
    uint16_t all[kLanes];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(all), halves);
    for (int i = 0; i < n; ++i) p[i] = all[i];
  }

  static F32 Add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
  static F32 Sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
  static F32 Mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
  static F32 Div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
  static F32 MulAdd(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
  static F32 Max(F32 a, F32 b) { return _mm256_max_ps(a, b); }  // b where either is NaN
  static F32 Abs(F32 x) { return _mm256_andnot_ps(Set1(-0.0f), x); }
  static F32 CopySign(F32 magnitude, F32 sign) {
    return _mm256_or_ps(magnitude, _mm256_and_ps(sign, Set1(-0.0f)));
  }
  // Lane by lane: a < b ? x : y, which is y where a or b is NaN.
  static F32 IfLess(F32 a, F32 b, F32 x, F32 y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
  }
  static float ReduceAdd(F32 x) {
    const __m128 fours = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 pairs = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
    return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
  }
  static float ReduceMax(F32 x) {
    const __m128 fours = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 pairs = _mm_max_ps(fours, _mm_movehl_ps(fours, fours));
    return _mm_cvtss_f32(_mm_max_ss(pairs, _mm_movehdup_ps(pairs)));
  }
  static float Lane0(F32 x) { return _mm256_cvtss_f32(x); }
  static F32 FirstN(F32 x, int n, F32 rest) { return _mm256_blendv_ps(rest, x, AsF32(Mask(n))); }
  static bool AnyNan(F32 x) { return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0; }
  // Index of the first lane that equals y; kLanes when none does.
  static int FindEqual(F32 x, F32 y) {
    const int equal = _mm256_movemask_ps(_mm256_cmp_ps(x, y, _CMP_EQ_OQ));
    return __builtin_ctz(static_cast<unsigned>(equal) | 0x100u);
  }

  static constexpr bool kScaleTakesAnyFinite = false;
  // Stays where Scale can build the exponent, which is that of 0 for -127. NaN stays NaN.
  static F32 ClampExponent(F32 x) {
    return _mm256_min_ps(Set1(127.0f), _mm256_max_ps(Set1(-127.0f), x));
  }
  static F32 Round(F32 x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F32 Scale(F32 x, F32 n) {
    const Words exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return Mul(x, AsF32(_mm256_slli_epi32(exponent, 23)));
  }

  static Words LoadWords(const uint32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Words SetWord(uint32_t word) { return _mm256_set1_epi32(static_cast<int>(word)); }
  static Words LowHalves(Words x) { return _mm256_and_si256(x, SetWord(0xffff)); }
  static Words HighHalves(Words x) { return _mm256_and_si256(x, SetWord(0xffff0000u)); }
  static F32 DotF32(F32 acc, Words a, Words b) { return _mm256_fmadd_ps(AsF32(a), AsF32(b), acc); }
  static F32 DotBf16(F32 acc, Words a, Words b) {
    const F32 low = _mm256_fmadd_ps(LowAsF32(a), LowAsF32(b), acc);
    return _mm256_fmadd_ps(HighAsF32(a), HighAsF32(b), low);
  }

  static I32 ZeroI32() { return _mm256_setzero_si256(); }
  static I32 LoadI32(const int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static I32 AddI32(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
  static I32 MulI32(I32 a, I32 b) { return _mm256_mullo_epi32(a, b); }
  static I32 AsI32(Words x) { return x; }
  static F32 ToF32(I32 x) { return _mm256_cvtepi32_ps(x); }
  // acc + the products of the four bytes of each word, those of `a` unsigned and of `b` signed. In
  // 16 bits, since what multiplies bytes at once saturates.
  static I32 DotBytes(I32 acc, Words a, Words b) {
    const Words a_even = _mm256_and_si256(a, SetWord(0x00ff00ff));
    const Words b_even = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8);
    const Words even = _mm256_madd_epi16(a_even, b_even);
    const Words odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
  }
  // Pairs of signed bytes as pairs of 16 bits.
  static Words LoadBytePairs(const uint16_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  // acc + the products of the signed halves of each word.
  static I32 DotHalves(I32 acc, Words a, Words b) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
  }
  // Integers that fit in 16 bits.
  static void StoreHalves(int16_t* p, F32 x) {
    const Words words = _mm256_cvtps_epi32(x);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
  static void StoreWords(uint32_t* p, Words x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
  }
  static Words LoadBytes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static Words And(Words a, Words b) { return _mm256_and_si256(a, b); }
  static Words Or(Words a, Words b) { return _mm256_or_si256(a, b); }
  template <int kBits>
  static Words ShiftLeft(Words x) {
    return _mm256_slli_epi32(x, kBits);
  }
  template <int kBits>
  static Words ShiftRight(Words x) {
    return _mm256_srli_epi32(x, kBits);
  }
  static Words MulHalves(Words a, Words b) { return _mm256_mullo_epi16(a, b); }
  static Words SubBytes(Words a, Words b) { return _mm256_sub_epi8(a, b); }
  // Integers from -128 to 127, 128 added to each.
  static void StoreBytesN(uint8_t* p, F32 x, int n) {
    const Words words = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(128));
    const __m128i halves =
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    uint8_t all[2 * kLanes];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(all), _mm_packus_epi16(halves, halves));
    for (int i = 0; i < n && i < kLanes; ++i) p[i] = all[i];
  }

 private:
  // A shuffle: shifts would take the ports that many processors multiply on.
  static F32 LowAsF32(Words x) {
    const __m128i to_high = _mm_setr_epi8(-1, -1, 0, 1, -1, -1, 4, 5, -1, -1, 8, 9, -1, -1, 12, 13);
    return AsF32(_mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(to_high)));
  }
  static F32 HighAsF32(Words x) { return AsF32(HighHalves(x)); }

  // To nearest, ties to even; NaN stays NaN.
  static __m128i RoundToBf16(F32 x) {
    const Words bits = AsWords(x);
    const Words high = _mm256_srli_epi32(bits, 16);
    const Words even = _mm256_and_si256(high, SetWord(1));
    const Words rounded =
        _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, SetWord(0x7fff)), even), 16);
    const Words nan = _mm256_or_si256(high, SetWord(0x40));
    const Words is_nan = AsWords(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const Words halves = _mm256_blendv_epi8(rounded, nan, is_nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
  }
};

}  // namespace
}  // namespace quire::kernels
