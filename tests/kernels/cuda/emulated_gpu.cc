#include "tests/kernels/cuda/test_kernels.h"
#include "tests/support/simt/simt_backend.h"

namespace quire::kernels::cuda {

const TestKernels& GpuUnderTest() {
  static const TestKernels kernels =
      MakeTestKernels<simt::SimtBackend>(MakeKernelTable<simt::SimtBackend>());
  return kernels;
}

void LaunchUnderTest(const KernelEntry& entry, const LaunchShape& shape, const void* args, size_t,
                     uint64_t seed) {
  simt::LaunchOrFail(entry, shape, args, seed);
}

}  // namespace quire::kernels::cuda
