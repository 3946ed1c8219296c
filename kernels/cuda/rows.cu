#include "kernels/cuda/gpu_backend.cuh"
#include "kernels/cuda/row_kernels.h"

namespace quire::kernels::cuda {

template KernelEntry EmbedEntry<GpuBackend>(DType);
template KernelEntry RmsNormEntry<GpuBackend>(DType);
template KernelEntry AddRmsNormEntry<GpuBackend>();
template KernelEntry RopeWriteKvEntry<GpuBackend>(DType, bool);
template KernelEntry GateMulEntry<GpuBackend>(DType, GateKind);
template KernelEntry SoftCapEntry<GpuBackend>();

}  // namespace quire::kernels::cuda
