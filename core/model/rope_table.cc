#include "core/model/rope_table.h"

#include <cmath>
#include <numbers>

namespace quire {
namespace {

// Slow rotations are slowed down by `factor`, fast ones left alone, and those between blended.
float ScaleFrequency(const RopeConfig& rope, float frequency) {
  const auto original = static_cast<float>(rope.original_max_positions);
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
  if (wavelength > static_cast<float>(rope.original_max_positions / rope.low_freq_factor)) {
    return frequency / factor;
  }
  if (wavelength < static_cast<float>(rope.original_max_positions / rope.high_freq_factor)) {
    return frequency;
  }
  const float smooth = (original / wavelength - low) /
                       static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<float> RopeFrequencies(const RopeConfig& rope, int32_t head_dim) {
  std::vector<float> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    // Through double, so that the result is the rounded float32 power on every platform.
    const double theta = static_cast<float>(rope.theta);
    frequencies[i] = 1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    if (rope.factor != 1.0) frequencies[i] = ScaleFrequency(rope, frequencies[i]);
  }
  return frequencies;
}

std::vector<float> RopeTable(const RopeConfig& rope, int32_t head_dim, int32_t positions) {
  const std::vector<float> frequencies = RopeFrequencies(rope, head_dim);
  const size_t half = frequencies.size();
  std::vector<float> table(static_cast<size_t>(positions) * 2 * half);
  for (int32_t position = 0; position < positions; ++position) {
    float* row = table.data() + static_cast<size_t>(position) * 2 * half;
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<float>(position) * frequencies[i];
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace quire
