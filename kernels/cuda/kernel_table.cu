#include "kernels/cuda/gpu_backend.cuh"
#include "kernels/cuda/kernel_table.h"

namespace quire::kernels::cuda {

// Made in attention.cu, rows.cu and sample.cu, which compile side by side.
extern template KernelEntry EmbedEntry<GpuBackend>(DType);
extern template KernelEntry RmsNormEntry<GpuBackend>(DType);
extern template KernelEntry AddRmsNormEntry<GpuBackend>();
extern template KernelEntry RopeWriteKvEntry<GpuBackend>(DType, bool);
extern template KernelEntry GateMulEntry<GpuBackend>(DType, GateKind);
extern template KernelEntry SoftCapEntry<GpuBackend>();
extern template KernelEntry AttentionEntry<GpuBackend>(const AttentionVariant&);
extern template KernelEntry AttentionMergeEntry<GpuBackend>(DType);
extern template KernelEntry SampleSummaryEntry<GpuBackend>();
extern template KernelEntry SampleEntry<GpuBackend>();

const KernelTable& GpuKernels() {
  static const KernelTable table = MakeKernelTable<GpuBackend>();
  return table;
}

}  // namespace quire::kernels::cuda
