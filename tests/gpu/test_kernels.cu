#include "kernels/cuda/gpu_backend.cuh"
#include "tests/kernels/cuda/test_kernels.h"

namespace quire::kernels::cuda {

// Made in kernels/cuda. SampleKernel<64> and FindKernel, which only tests know, are made here.
extern template KernelEntry SampleEntry<GpuBackend>();

const TestKernels& GpuUnderTest() {
  static const TestKernels kernels = MakeTestKernels<GpuBackend>(GpuKernels());
  return kernels;
}

}  // namespace quire::kernels::cuda
