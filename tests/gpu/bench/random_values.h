#pragma once

#include <cuda_runtime_api.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/api/float_convert.h"
#include "kernels/api/views.h"

namespace quire::bench {

// Uniform in [-1, 1): the same number on the host and on the GPU for a seed and an index, so that
// what was filled in there can be recomputed here.
constexpr float RandomValue(uint64_t seed, uint64_t index) {
  uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u + seed * 0xd1b54a32d192ed03u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<float>(static_cast<int32_t>(x >> 40) - (1 << 23)) * 0x1p-23f;
}

constexpr uint16_t RandomBf16(uint64_t seed, uint64_t index) {
  return kernels::FloatToBf16(RandomValue(seed, index));
}

// fp8 of the e4m3 kind: no NaN.
constexpr uint8_t RandomFp8(uint64_t seed, uint64_t index) {
  // Exponents of 2^-3 to 2^3.
  const float value = RandomValue(seed, index);
  const auto code = static_cast<uint32_t>((value < 0 ? -value : value) * 56) + (4 << 3);
  return static_cast<uint8_t>(code | (value < 0 ? 0x80 : 0));
}

constexpr float Fp8ToFloat(uint8_t code) {  // of a normal number
  const uint32_t magnitude = code & 0x7f;
  return std::bit_cast<float>((code & 0x80u) << 24 | (magnitude + (120u << 3)) << 20);
}

// Of a row of fp8, so that its elements are at most about 1.
constexpr float RandomScale(uint64_t seed, uint64_t index) {
  return (1 + 0.5f * RandomValue(seed, index)) / 16;
}

// Fills `count` bf16 elements of device memory with RandomBf16(seed, 0...).
void FillRandom(void* data, size_t count, uint64_t seed, cudaStream_t stream);

// The KV of `blocks` blocks that lie one after the other and hold `layers` layers like `layer`
// alone: elements are RandomBf16 or RandomFp8 of their index in the arena, scales are RandomScale
// of (block, row), rows of K before those of V.
struct KvArena {
  kernels::KvLayerView layer;
  size_t blocks = 0;
  size_t block_bytes = 0;
  size_t layers = 1;
  size_t layer_stride = 0;
};
void FillRandomKv(const KvArena& arena, uint64_t seed, cudaStream_t stream);

}  // namespace quire::bench
