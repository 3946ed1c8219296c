#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kernels/api/float_convert.h"
#include "kernels/api/types.h"

// Pooling as one would write it down, to compare with. Elements travel as strings of bytes, as
// files hold them.

namespace quire::testing {

using kernels::DType;

inline double Element(const std::string& bytes, size_t index, DType dtype) {
  float value = 0;
  kernels::ConvertToFloat(bytes.data() + index * kernels::DTypeBytes(dtype), dtype, 1, &value);
  return value;
}

// The finite values of a 16-bit type that are not negative, in order, with the bits of each.
inline std::vector<double> Magnitudes(DType dtype) {
  std::vector<double> values;
  for (uint16_t bits = 0; bits < 0x8000; ++bits) {
    const double value =
        dtype == DType::kF16 ? kernels::F16ToFloat(bits) : kernels::Bf16ToFloat(bits);
    if (!std::isfinite(value)) break;
    values.push_back(value);
  }
  return values;
}

// The nearest of all values of the type, found by looking at them; of two as near the one with even
// bits. For values within the type's range.
inline std::string NaiveRound(double value, DType dtype) {
  if (dtype == DType::kF32) {
    const auto rounded = static_cast<float>(value);
    return {reinterpret_cast<const char*>(&rounded), sizeof(rounded)};
  }
  static const std::vector<double> kF16 = Magnitudes(DType::kF16);
  static const std::vector<double> kBf16 = Magnitudes(DType::kBF16);
  const std::vector<double>& values = dtype == DType::kF16 ? kF16 : kBf16;
  const double magnitude = std::fabs(value);
  const auto above = std::lower_bound(values.begin(), values.end(), magnitude);
  auto bits = static_cast<uint16_t>(above - values.begin());
  if (above == values.end()) {
    --bits;
  } else if (*above != magnitude) {
    const long double up = static_cast<long double>(*above) - magnitude;
    const long double down = static_cast<long double>(magnitude) - *std::prev(above);
    if (down < up || (down == up && bits % 2 == 1)) --bits;
  }
  if (std::signbit(value)) bits |= 0x8000;
  return {reinterpret_cast<const char*>(&bits), sizeof(bits)};
}

// Heads of `head_elements`, merged to `groups`.
inline std::string NaiveMean(const std::string& heads, DType dtype, size_t head_elements,
                             size_t groups) {
  const size_t merged = heads.size() / kernels::DTypeBytes(dtype) / head_elements / groups;
  std::string result;
  for (size_t group = 0; group < groups; ++group) {
    for (size_t i = 0; i < head_elements; ++i) {
      long double sum = -0.0L;
      for (size_t m = 0; m < merged; ++m) {
        sum += Element(heads, (group * merged + m) * head_elements + i, dtype);
      }
      result += NaiveRound(static_cast<double>(sum / static_cast<long double>(merged)), dtype);
    }
  }
  return result;
}

}  // namespace quire::testing
