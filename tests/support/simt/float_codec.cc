#include "tests/support/simt/float_codec.h"

#include <bit>
#include <cmath>

namespace quire::kernels::simt {

float Fp8ToFloat(uint32_t bits) {
  const uint32_t exponent = bits >> 3 & 0xf;
  const uint32_t fraction = bits & 7;
  const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
  if (exponent == 15 && fraction == 7) return NAN;
  if (exponent == 0) return sign * static_cast<float>(fraction) * 0x1p-9f;
  return sign * std::ldexp(static_cast<float>(8 + fraction), static_cast<int>(exponent) - 10);
}

uint8_t FloatToFp8(float value) {
  if (std::isnan(value)) return 0x7f;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  if (magnitude >= 448) return sign | 0x7e;
  if (magnitude < 0x1p-6f) return sign | static_cast<uint8_t>(std::nearbyint(magnitude * 0x1p9f));
  const auto bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = bits + 0x7ffff + (bits >> 20 & 1);
  return sign | static_cast<uint8_t>((rounded - 0x3c000000u) >> 20);
}

}  // namespace quire::kernels::simt
