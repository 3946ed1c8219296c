#include "kernels/cuda/gpu_backend.cuh"
#include "kernels/cuda/sample_kernels.h"

namespace quire::kernels::cuda {

template KernelEntry SampleSummaryEntry<GpuBackend>();
template KernelEntry SampleEntry<GpuBackend>();

}  // namespace quire::kernels::cuda
