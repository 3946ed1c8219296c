#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/gpu_backend.cuh"

namespace quire::kernels::cuda {

template KernelEntry AttentionEntry<GpuBackend>(const AttentionVariant&);
template KernelEntry AttentionMergeEntry<GpuBackend>(DType);

}  // namespace quire::kernels::cuda
