#include "core/base/check.h"
#include "kernels/cuda/cuda_runtime.h"
#include "tests/support/simt/emulated_runtime.h"

// For binaries that link this in place of the emulator: what the tests of whole models ask the
// emulator for is a real GPU.

namespace quire::kernels::simt {

std::unique_ptr<cuda::GpuRuntime> MakeTestGpu(const EmulatedGpuOptions&) {
  DeviceStatus status;
  auto runtime = cuda::MakeCudaRuntime(&status);
  QUIRE_CHECK(runtime != nullptr) << status.message();
  return runtime;
}

size_t DelayingCopyBytes() { return size_t{16} << 20; }  // some hundred microseconds

}  // namespace quire::kernels::simt
