#include "tests/gpu/probe.h"

#include <cuda_runtime_api.h>

namespace quire::gpu {

std::string WhyNoGpu() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    return "no usable GPU: no NVIDIA driver, or one too old for this CUDA run-time library";
  }
  if (error != cudaSuccess) return std::string("no usable GPU: ") + cudaGetErrorString(error);
  return count == 0 ? "no usable GPU: none can be seen" : "";
}

}  // namespace quire::gpu
