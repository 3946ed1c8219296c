#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/api/float_convert.h"

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

// Fills `count` bf16 elements of device memory with RandomBf16(seed, 0...).
void FillRandom(void* data, size_t count, uint64_t seed, cudaStream_t stream);

}  // namespace quire::bench
