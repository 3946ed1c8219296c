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

__global__ void FillFp8(uint8_t* data, size_t count, uint64_t seed) {
  const size_t stride = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += stride) {
    data[i] = RandomFp8(seed, i);
  }
}

// `rows` scales at the beginning of each of `blocks` pieces of memory.
__global__ void FillScales(std::byte* data, size_t blocks, size_t block_bytes, size_t rows,
                           uint64_t seed) {
  const size_t stride = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; i < blocks * rows;
       i += stride) {
    auto* const scales = reinterpret_cast<float*>(data + i / rows * block_bytes);
    scales[i % rows] = RandomScale(seed, i);
  }
}

}  // namespace

void FillRandom(void* data, size_t count, uint64_t seed, cudaStream_t stream) {
  Fill<<<kBlocks, kThreads, 0, stream>>>(static_cast<uint16_t*>(data), count, seed);
}

void FillRandomKv(const KvArena& arena, uint64_t seed, cudaStream_t stream) {
  const kernels::KvLayerView& layer = arena.layer;
  const size_t bytes = arena.blocks * arena.block_bytes;
  if (layer.dtype != kernels::DType::kF8E4M3)
    return FillRandom(layer.base, bytes / 2, seed, stream);
  FillFp8<<<kBlocks, kThreads, 0, stream>>>(reinterpret_cast<uint8_t*>(layer.base), bytes, seed);
  const size_t rows = (layer.LayerBytes() - layer.ScaleOffset()) / sizeof(float);
  for (size_t l = 0; l < arena.layers; ++l) {
    std::byte* const scales = layer.base + l * arena.layer_stride + layer.ScaleOffset();
    FillScales<<<kBlocks, kThreads, 0, stream>>>(scales, arena.blocks, arena.block_bytes, rows,
                                                 seed);
  }
}

}  // namespace quire::bench
