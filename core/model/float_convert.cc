#include "core/model/float_convert.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace quire {
namespace {

float FromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

float FromF16(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const auto mantissa = static_cast<float>(bits & 0x3FF);
  float magnitude = 0;
  if (exponent == 0x1F) {
    magnitude = mantissa == 0 ? HUGE_VALF : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, -24);
  } else {
    magnitude = std::ldexp(1024.0f + mantissa, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

template <float (*kConvert)(uint16_t)>
void ConvertHalves(const void* data, size_t count, float* out) {
  const auto* bytes = static_cast<const std::byte*>(data);
  for (size_t i = 0; i < count; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes + 2 * i, sizeof(bits));
    out[i] = kConvert(bits);
  }
}

}  // namespace

void ConvertToFloat(const void* data, kernels::DType dtype, size_t count, float* out) {
  switch (dtype) {
    case kernels::DType::kF32:
      if (count > 0) std::memcpy(out, data, count * sizeof(float));
      return;
    case kernels::DType::kF16:
      return ConvertHalves<FromF16>(data, count, out);
    case kernels::DType::kBF16:
      return ConvertHalves<FromBf16>(data, count, out);
  }
}

}  // namespace quire
