#include "tests/gpu/bench/random_values.h"

namespace quire::bench {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 2048;

__global__ void Fill(uint16_t* data, size_t count, uint64_t seed) {
  const size_t stride = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += stride) {
    data[i] = RandomBf16(seed, i);
  }
}

}  // namespace

void FillRandom(void* data, size_t count, uint64_t seed, cudaStream_t stream) {
  Fill<<<kBlocks, kThreads, 0, stream>>>(static_cast<uint16_t*>(data), count, seed);
}

}  // namespace quire::bench
