#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "core/kv/block_swapper.h"
#include "core/kv/kv_cache_manager.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_device.h"
#include "tests/support/simt/emulated_runtime.h"

namespace quire {

using kernels::simt::EmulatedGpuOptions;
using kernels::simt::QueueOrder;

inline constexpr QueueOrder kQueueOrders[] = {QueueOrder::kAsNeeded, QueueOrder::kTransfersFirst,
                                              QueueOrder::kComputeFirst, QueueOrder::kRandom};

// One layer, one group: a token takes 16 bytes, and a block 256 for each 16 tokens.
inline KvLayout SwapLayout(int32_t block_tokens = 16, int32_t window = 0) {
  KvLayout layout;
  layout.block_tokens = block_tokens;
  layout.window = window;
  layout.layers = {{.kv_groups = 1, .head_dim = 4}};
  return layout;
}

inline std::unique_ptr<kernels::Device> SwapDevice(const EmulatedGpuOptions& options) {
  kernels::DeviceStatus status;
  auto device = kernels::cuda::MakeCudaDevice(kernels::simt::MakeTestGpu(options), false, &status);
  QUIRE_CHECK(device != nullptr) << status.message();
  return device;
}

// A GPU with an arena in it, and a swapper. What a step would compute is a copy in the GPU's stream
// of work.
class SwapGpu {
 public:
  SwapGpu(KvLayouts layouts, size_t arena_bytes, const BlockSwapper::Options& options,
          const EmulatedGpuOptions& gpu = {})
      : device_(SwapDevice(gpu)) {
    QUIRE_CHECK(device_->Allocate(arena_bytes, &arena_).ok());
    auto made = BlockSwapper::Create(device_.get(), arena_.data(), layouts, options);
    QUIRE_CHECK(made.ok()) << made.status().ToString();
    swapper_ = *std::move(made);
    delaying_bytes_ = kernels::simt::DelayingCopyBytes();
    QUIRE_CHECK(device_->Allocate(delaying_bytes_, &delaying_).ok());
    delaying_host_ = HostMemory(delaying_bytes_);
  }

  kernels::Device& device() { return *device_; }
  std::byte* arena() const { return arena_.data(); }
  BlockSwapper& swapper() { return *swapper_; }
  std::unique_ptr<BlockSwapper> TakeSwapper() { return std::move(swapper_); }

  kernels::HostBuffer HostMemory(size_t bytes) {
    kernels::HostBuffer buffer;
    QUIRE_CHECK(device_->AllocateHost(bytes, &buffer).ok());
    return buffer;
  }
  // Keeps a queue busy, on a GPU that has a clock of its own.
  void DelayCompute() {
    device_->CopyToDevice(delaying_.data(), delaying_host_.data(), delaying_bytes_);
  }
  void DelayTransfers() {
    device_->transfers()->CopyToHost(delaying_host_.data(), delaying_.data(), delaying_bytes_);
  }

 private:
  std::unique_ptr<kernels::Device> device_;
  kernels::DeviceBuffer arena_;
  kernels::DeviceBuffer delaying_;
  kernels::HostBuffer delaying_host_;
  size_t delaying_bytes_ = 0;
  std::unique_ptr<BlockSwapper> swapper_;
};

}  // namespace quire
