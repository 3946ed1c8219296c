#include "kernels/cuda/cuda_ops.h"

#include "kernels/cuda/planned_attention.h"

namespace quire::kernels::cuda {

CudaOps::CudaOps(GpuRuntime* runtime, int32_t split)
    : runtime_(runtime), kernels_(runtime->kernels()), split_(split) {}

CudaOps::~CudaOps() = default;

DeviceStatus CudaOps::Prepare(const PrepareParams& params) {
  plans_.clear();
  DeviceStatus status = PrepareAttention(params);
  if (status.ok() && params.vocab > 0) status = PrepareSampling(params);
  return status;
}

void CudaOps::BeginStep(const BatchView& batch, const BatchHostView& host) {
  KERNELS_CHECK(!capturing_);
  for (const auto& planned : plans_) planned->Upload(batch.capacity, host);
}

}  // namespace quire::kernels::cuda
