#include <cstdlib>
#include <memory>
#include <string>

#include "kernels/api/device_factory.h"
#include "kernels/cuda/cuda_device.h"
#include "tests/support/simt/emulated_runtime.h"

// The device of a program that is linked with this file: an emulated GPU, whatever was asked for.
// QUIRE_EMULATED_GPU_LOST_AFTER: so many kernels run, then it fails.
// QUIRE_EMULATED_GPU_MEMORY: its bytes.

namespace quire::kernels {

DeviceStatus CreateDevice(const DeviceOptions& options, std::unique_ptr<Device>* device,
                          std::string*) {
  simt::EmulatedGpuOptions gpu;
  if (const char* kernels = std::getenv("QUIRE_EMULATED_GPU_LOST_AFTER")) {
    gpu.lost_after = std::stoll(kernels);
  }
  if (const char* bytes = std::getenv("QUIRE_EMULATED_GPU_MEMORY")) {
    gpu.memory_bytes = std::stoull(bytes);
  }
  DeviceStatus status;
  *device = cuda::MakeCudaDevice(simt::MakeTestGpu(gpu), options.batch_invariant, &status);
  return status;
}

}  // namespace quire::kernels
