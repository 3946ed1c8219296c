#include <numeric>

#include "absl/strings/match.h"
#include "core/model/weight_source.h"

namespace quire {
namespace {

constexpr uint16_t kOneBf16 = 0x3F80;
constexpr float kHalfRange = 0.034641f;  // 0.02 * sqrt(3): uniform with a deviation of 0.02

// Stable across builds and platforms, which std::hash is not (FNV-1a).
uint64_t HashName(const std::string& name, uint64_t seed) {
  uint64_t hash = 0xCBF29CE484222325u ^ seed;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return hash;
}

// SplitMix64 (Steele, Lea and Flood, 2014).
uint64_t NextRandom(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

uint16_t UniformBf16(uint64_t bits16) {
  const float value = static_cast<float>(static_cast<int16_t>(bits16)) * (kHalfRange / 32768.0f);
  uint32_t bits = 0;
  static_assert(sizeof(bits) == sizeof(value));
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>(bits >> 16);
}

void FillUniform(uint64_t state, std::span<uint16_t> values) {
  size_t i = 0;
  for (; i + 4 <= values.size(); i += 4) {
    const uint64_t random = NextRandom(&state);
    for (size_t j = 0; j < 4; ++j) values[i + j] = UniformBf16(random >> (16 * j));
  }
  const uint64_t random = NextRandom(&state);
  for (size_t j = 0; i + j < values.size(); ++j) values[i + j] = UniformBf16(random >> (16 * j));
}

}  // namespace

absl::StatusOr<std::vector<kernels::HostMatrix>> RandomSource::Fetch(
    std::span<const TensorSpec> specs) {
  const auto elements = [](const TensorSpec& spec) {
    return static_cast<size_t>(spec.rows) * static_cast<size_t>(spec.cols);
  };
  size_t total = 0;
  for (const TensorSpec& spec : specs) total += elements(spec);
  values_.resize(total);

  std::vector<kernels::HostMatrix> matrices;
  size_t start = 0;
  for (const TensorSpec& spec : specs) {
    const std::span<uint16_t> values(values_.data() + start, elements(spec));
    if (absl::EndsWith(spec.name, "norm.weight")) {
      std::fill(values.begin(), values.end(), kOneBf16);
    } else {
      FillUniform(HashName(spec.name, seed_), values);
    }
    matrices.push_back({.data = values.data(),
                        .dtype = kernels::DType::kBF16,
                        .rows = spec.rows,
                        .cols = spec.cols});
    start += values.size();
  }
  return matrices;
}

}  // namespace quire
