#pragma once

#include "kernels/cuda/device/gpu_context.cuh"
#include "kernels/cuda/kernel_entry.h"

namespace quire::kernels::cuda {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kMinBlocks)
    RunOnGpu(const __grid_constant__ typename Kernel::Args args) {
  extern __shared__ __align__(128) std::byte shared[];
  GpuContext context(shared);
  Kernel::Run(context, args);
}

struct GpuBackend {
  template <class Kernel>
  static KernelEntry Entry() {
    return {Kernel::kName, Kernel::kThreads, reinterpret_cast<const void*>(&RunOnGpu<Kernel>)};
  }
};

}  // namespace quire::kernels::cuda
