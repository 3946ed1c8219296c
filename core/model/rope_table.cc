#include "core/model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace quire {
namespace {

// Wavelengths of the unscaled rotation, over 2 pi.
std::vector<float> Periods(const RopeConfig& rope, int32_t rotary_dim) {
  std::vector<float> periods(static_cast<size_t>(rotary_dim / 2));
  for (size_t i = 0; i < periods.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    // Through double, so that the result is the rounded float32 power on every platform.
    const double theta = static_cast<float>(rope.theta);
    periods[i] = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
  }
  return periods;
}

// Slow rotations are slowed down by `factor`, fast ones left alone, and those between blended.
float ScaleLlama3(const RopeConfig& rope, float frequency) {
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

// The index of the frequency that turns `rotations` times within the original length.
double YarnIndex(const RopeConfig& rope, int32_t rotary_dim, double rotations) {
  const double turns = rope.original_max_positions / (rotations * 2 * std::numbers::pi);
  return rotary_dim * std::log(turns) / (2 * std::log(rope.theta));
}

std::vector<float> YarnFrequencies(const RopeConfig& rope, const std::vector<float>& periods) {
  const auto rotary_dim = static_cast<int32_t>(2 * periods.size());
  double low = YarnIndex(rope, rotary_dim, rope.beta_fast);
  double high = YarnIndex(rope, rotary_dim, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(rotary_dim - 1));
  if (low == high) high += 0.001;
  std::vector<float> frequencies(periods.size());
  for (size_t i = 0; i < periods.size(); ++i) {
    const float ramp =
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1 - std::clamp(ramp, 0.0f, 1.0f);
    const float divided = 1.0f / (static_cast<float>(rope.factor) * periods[i]);
    frequencies[i] = divided * (1 - kept) + 1.0f / periods[i] * kept;
  }
  return frequencies;
}

}  // namespace

int32_t RotaryDim(const RopeConfig& rope, int32_t head_dim) {
  return rope.rotary_dim == 0 ? head_dim : rope.rotary_dim;
}

std::vector<float> RopeFrequencies(const RopeConfig& rope, int32_t head_dim, int32_t positions) {
  std::vector<float> periods = Periods(rope, RotaryDim(rope, head_dim));
  if (rope.kind == RopeKind::kYarn) return YarnFrequencies(rope, periods);
  if (rope.kind == RopeKind::kLongRope) {
    const bool beyond = positions > rope.original_max_positions;
    const std::vector<double>& factors = beyond ? rope.long_factors : rope.short_factors;
    for (size_t i = 0; i < periods.size(); ++i) periods[i] *= static_cast<float>(factors[i]);
  }
  std::vector<float> frequencies(periods.size());
  for (size_t i = 0; i < periods.size(); ++i) {
    frequencies[i] = 1.0f / periods[i];
    if (rope.kind == RopeKind::kLinear) frequencies[i] /= static_cast<float>(rope.factor);
    if (rope.kind == RopeKind::kLlama3) frequencies[i] = ScaleLlama3(rope, frequencies[i]);
  }
  return frequencies;
}

std::vector<float> RopeTable(const RopeConfig& rope, int32_t head_dim, int32_t positions) {
  const std::vector<float> frequencies = RopeFrequencies(rope, head_dim, positions);
  const size_t half = frequencies.size();
  const auto scale = static_cast<float>(rope.attention_factor);
  std::vector<float> table(static_cast<size_t>(positions) * 2 * half);
  for (int32_t position = 0; position < positions; ++position) {
    float* row = table.data() + static_cast<size_t>(position) * 2 * half;
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<float>(position) * frequencies[i];
      row[i] = static_cast<float>(std::cos(angle)) * scale;
      row[half + i] = static_cast<float>(std::sin(angle)) * scale;
    }
  }
  return table;
}

}  // namespace quire
