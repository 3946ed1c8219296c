#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/device/annotations.h"

// fp8 of the e4m3 kind (Micikevicius et al., 2022): bias 7, no infinity, NaN is 0x7f and 0xff.
// Plain arithmetic, since not every GPU in question has an instruction for it.

namespace quire::kernels::cuda {

inline constexpr float kMaxE4m3 = 448;

// The nearest one, ties to even, clamped to the largest.
QUIRE_DEVICE uint32_t ToE4m3(float x) {
  const uint32_t sign = std::bit_cast<uint32_t>(x) >> 31 << 7;
  const float magnitude = std::abs(x);
  if (!(magnitude == magnitude)) return sign | 0x7f;
  if (magnitude >= kMaxE4m3) return sign | 0x7e;
  if (magnitude < 0x1p-6f) {  // a multiple of 2^-9
    return sign | (std::bit_cast<uint32_t>(magnitude * 0x1p9f + 0x1p23f) & 0xff);
  }
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = (bits + 0x7ffff + (bits >> 20 & 1)) >> 20;
  return sign | (rounded - (120u << 3));
}

// Eight floats times `factor` to an address aligned to 8.
QUIRE_DEVICE void StoreE4m3(const float (&in)[8], float factor, uint8_t* to) {
  struct alignas(8) Words2 {
    uint32_t word[2];
  };
  Words2 words = {};
  for (int i = 0; i < 8; ++i) words.word[i / 4] |= ToE4m3(in[i] * factor) << (i % 4 * 8);
  *reinterpret_cast<Words2*>(to) = words;
}

}  // namespace quire::kernels::cuda
