#pragma once

#include <memory>

#include "kernels/api/device.h"
#include "kernels/cuda/gpu_runtime.h"

namespace quire::kernels::cuda {

// The device over a runtime: see kernels/README.md. Null, with the reason, where its own buffers
// find no memory.
//
// `batch_invariant`: a row's bits follow from its own sequence alone, at the price of speed.
std::unique_ptr<Device> MakeCudaDevice(std::unique_ptr<GpuRuntime> runtime, bool batch_invariant,
                                       DeviceStatus* status);

}  // namespace quire::kernels::cuda
