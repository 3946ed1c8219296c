#include "server/cli/bench_flops.h"

#include <cstddef>
#include <cstdint>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/api/device_factory.h"

namespace quire::cli {
namespace {

// Independent chains, enough to cover the latency of two multiply-add units.
constexpr size_t kChains = 12;

float Portable(int64_t iterations) {
  constexpr size_t kLanes = 8;
  float sums[kChains][kLanes] = {};
  volatile float seed = 0.999f;
  const float factor = seed;
  for (int64_t i = 0; i < iterations; ++i) {
    for (auto& chain : sums) {
      for (float& lane : chain) lane = lane * factor + factor;
    }
  }
  float total = 0;
  for (auto& chain : sums) {
    for (float lane : chain) total += lane;
  }
  return total;
}
constexpr FlopsLoop kPortable = {"plain C++", 2 * kChains * 8, Portable};

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) float Avx2(int64_t iterations) {
  volatile float seed = 0.999f;
  const __m256 factor = _mm256_set1_ps(seed);
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = factor;
  for (int64_t i = 0; i < iterations; ++i) {
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, factor);
  }
  __m256 total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm256_add_ps(total, sums[i]);
  return _mm256_cvtss_f32(total);
}
constexpr FlopsLoop kAvx2 = {"AVX2 FMA, f32", 2 * kChains * 8, Avx2};

__attribute__((target("avx512f"))) float Avx512(int64_t iterations) {
  volatile float seed = 0.999f;
  const __m512 factor = _mm512_set1_ps(seed);
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = factor;
  for (int64_t i = 0; i < iterations; ++i) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  __m512 total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}
constexpr FlopsLoop kAvx512 = {"AVX-512 FMA, f32", 2 * kChains * 16, Avx512};

__attribute__((target("avx512f,avx512bf16"))) float Avx512Bf16(int64_t iterations) {
  volatile float seed = 0.5f;
  const __m512 start = _mm512_set1_ps(seed);
  const __m512bh factor = _mm512_cvtne2ps_pbh(start, start);
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = start;
  for (int64_t i = 0; i < iterations; ++i) {
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, factor, factor);
  }
  __m512 total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}
constexpr FlopsLoop kAvx512Bf16 = {"AVX-512 BF16 dot products", 2 * kChains * 32, Avx512Bf16};

__attribute__((target("avx512f,avx512vnni"))) float Avx512Vnni(int64_t iterations) {
  volatile int seed = 1;
  const __m512i factor = _mm512_set1_epi32(seed);
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = factor;
  for (int64_t i = 0; i < iterations; ++i) {
    // As in the kernels: GCC 12 would copy each sum before its instruction.
    for (__m512i& sum : sums) asm("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(factor));
  }
  __m512i total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm512_add_epi32(total, sums[i]);
  return static_cast<float>(_mm512_cvtsi512_si32(total));
}
constexpr FlopsLoop kAvx512Vnni = {"AVX-512 VNNI, 8 bits", 2 * kChains * 64, Avx512Vnni};

struct TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

__attribute__((target("amx-tile,amx-bf16"))) float AmxBf16(int64_t iterations) {
  const TileShapes shapes;
  asm volatile("" : : "m"(shapes));
  _tile_loadconfig(&shapes);
  for (int64_t i = 0; i < iterations; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return 0;
}
constexpr FlopsLoop kAmxBf16 = {"AMX BF16", 4 * 2 * 16 * 16 * 32, AmxBf16};

__attribute__((target("amx-tile,amx-int8"))) float AmxInt8(int64_t iterations) {
  const TileShapes shapes;
  asm volatile("" : : "m"(shapes));
  _tile_loadconfig(&shapes);
  for (int64_t i = 0; i < iterations; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
  return 0;
}
constexpr FlopsLoop kAmxInt8 = {"AMX, 8 bits", 4 * 2 * 16 * 16 * 64, AmxInt8};

// A process has to ask for it, as the device does.
bool CanUseAmx() {
  std::unique_ptr<kernels::Device> device;
  return kernels::CreateDevice({.kind = "cpu", .threads = 1, .cpu_tier = "amx"}, &device).ok();
}

#endif

}  // namespace

FlopsLoop FastestFlopsLoop([[maybe_unused]] kernels::DType dtype,
                           [[maybe_unused]] kernels::WeightFormat weights) {
#if defined(__x86_64__)
  if (CanUseAmx()) {
    if (weights != kernels::WeightFormat::kDense) return kAmxInt8;
    if (dtype == kernels::DType::kBF16) return kAmxBf16;
  }
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0;
  if (weights != kernels::WeightFormat::kDense && avx512 &&
      __builtin_cpu_supports("avx512vnni") != 0) {
    return kAvx512Vnni;
  }
  if (dtype == kernels::DType::kBF16 && avx512 && __builtin_cpu_supports("avx512bf16") != 0) {
    return kAvx512Bf16;
  }
  if (avx512) return kAvx512;
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) return kAvx2;
#endif
  return kPortable;
}

}  // namespace quire::cli
