#pragma once

#include <memory>

#include "kernels/cuda/gpu_runtime.h"

namespace quire::kernels::cuda {

// Oldest GPUs that the kernels are built for: compute capability 8.0, for cp.async and mma of
// bfloat16.
inline constexpr int kMinComputeMajor = 8;

// The first GPU, through the CUDA run-time library. Null, with one line of what is missing, where
// there is no driver, no GPU, one that is too old, or no cuBLASLt.
std::unique_ptr<GpuRuntime> MakeCudaRuntime(DeviceStatus* status);

}  // namespace quire::kernels::cuda
