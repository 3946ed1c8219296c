#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "tests/gpu/heap_blocks.h"
#include "tests/kernels/cuda/test_gpu.h"

// The real GPU of tests/kernels/cuda. Every launch gets allocations of its own, as large as the
// test's and not a byte larger, so that compute-sanitizer sees what is read or written beside them.

namespace quire::kernels::cuda {
namespace {

using quire::gpu::FindHeapBlock;
using quire::gpu::HeapBlock;

// Copies on the GPU of the heap blocks that a launch's arguments point into.
class GpuCopies {
 public:
  GpuCopies() = default;
  GpuCopies(const GpuCopies&) = delete;
  GpuCopies& operator=(const GpuCopies&) = delete;
  ~GpuCopies() {
    for (const auto& [data, copy] : copies_) cudaFree(copy.on_gpu);
  }

  // Makes every pointer into the heap that lies in `words` point into the block's copy.
  cudaError_t Redirect(uintptr_t* words, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      auto* const address = reinterpret_cast<std::byte*>(words[i]);
      const std::optional<HeapBlock> block = FindHeapBlock(address);
      if (!block.has_value() || block->bytes == 0) continue;
      const cudaError_t error = Copy(*block);
      if (error != cudaSuccess) return error;
      words[i] = reinterpret_cast<uintptr_t>(copies_[block->data].on_gpu + (address - block->data));
    }
    return cudaSuccess;
  }
  cudaError_t CopyBack() const {
    for (const auto& [data, copy] : copies_) {
      const cudaError_t error = cudaMemcpy(data, copy.on_gpu, copy.bytes, cudaMemcpyDeviceToHost);
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  }

 private:
  struct OnGpu {
    std::byte* on_gpu = nullptr;
    size_t bytes = 0;
  };

  cudaError_t Copy(const HeapBlock& block) {
    OnGpu& copy = copies_[block.data];
    if (copy.on_gpu != nullptr) return cudaSuccess;
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, block.bytes);
    if (error != cudaSuccess) return error;
    copy = {static_cast<std::byte*>(memory), block.bytes};
    return cudaMemcpy(memory, block.data, block.bytes, cudaMemcpyHostToDevice);
  }

  std::map<std::byte*, OnGpu> copies_;
};

cudaError_t Run(const KernelEntry& entry, const LaunchShape& shape, void* args) {
  cudaError_t error = cudaFuncSetAttribute(
      entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared_bytes);
  if (error != cudaSuccess) return error;
  void* arguments[] = {args};
  error = cudaLaunchKernel(
      entry.function,
      dim3(static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y)),
      dim3(static_cast<unsigned>(entry.threads)), arguments,
      static_cast<size_t>(shape.shared_bytes), nullptr);
  return error == cudaSuccess ? cudaDeviceSynchronize() : error;
}

}  // namespace

void LaunchUnderTest(const KernelEntry& entry, const LaunchShape& shape, const void* args,
                     size_t arg_bytes, uint64_t) {
  alignas(64) uintptr_t words[kMaxArgBytes / sizeof(uintptr_t)] = {};
  ASSERT_LE(arg_bytes, sizeof(words));
  std::memcpy(words, args, arg_bytes);
  GpuCopies copies;
  cudaError_t error = copies.Redirect(words, arg_bytes / sizeof(uintptr_t));
  if (error == cudaSuccess) error = Run(entry, shape, words);
  if (error == cudaSuccess) error = copies.CopyBack();
  if (error != cudaSuccess) {
    ADD_FAILURE() << entry.name << ", grid " << shape.grid_x << " x " << shape.grid_y << ", "
                  << shape.shared_bytes << " bytes of shared memory: " << cudaGetErrorString(error);
  }
}

}  // namespace quire::kernels::cuda
