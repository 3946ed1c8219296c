#include "kernels/cuda/cuda_ops.h"

#include "kernels/cuda/planned_attention.h"

namespace quire::kernels::cuda {

CudaOps::CudaOps(GpuRuntime* runtime, int32_t split)
    : runtime_(runtime), kernels_(runtime->kernels()), split_(split) {}

CudaOps::~CudaOps() = default;

DeviceStatus CudaOps::Prepare(const PrepareParams& params) {
  // Steps on their way and recorded graphs have the addresses of what the first call set aside.
  if (prepared_) {
    return DeviceStatus(DeviceStatus::Code::kInvalidArgument,
                        "a GPU device runs one model, and this one has its model already; make "
                        "another device for another model");
  }
  plans_.clear();
  DeviceStatus status = PrepareAttention(params);
  if (status.ok() && params.vocab > 0) status = PrepareSampling(params);
  prepared_ = status.ok();
  return status;
}

size_t CudaOps::WorkBytes() const {
  size_t bytes = partial_out_.bytes() + partial_lse_.bytes() + sample_work_.bytes() +
                 sample_summaries_.bytes();
  for (const auto& planned : plans_) bytes += planned->device_bytes();
  return bytes;
}

void CudaOps::BeginStep(const BatchView& batch, const BatchHostView& host) {
  KERNELS_CHECK(!capturing_);
  for (const auto& planned : plans_) planned->Upload(batch.capacity, host);
}

}  // namespace quire::kernels::cuda
