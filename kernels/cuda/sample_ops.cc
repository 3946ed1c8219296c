#include "kernels/cuda/cuda_ops.h"

namespace quire::kernels::cuda {

DeviceStatus CudaOps::PrepareSampling(const PrepareParams& params) {
  constexpr auto kDevice = GpuBuffer::Kind::kDevice;
  DeviceStatus status =
      sample_work_.Allocate(runtime_, kDevice, SampleWorkBytes(params.capacity, params.vocab));
  if (!status.ok()) return status;
  return sample_summaries_.Allocate(runtime_, kDevice,
                                    SampleSummaryBytes(params.capacity, params.vocab));
}

void CudaOps::Sample(const SampleParams& params) {
  const BatchView& batch = *params.batch;
  const SampleArgs args = {.counts = batch.counts,
                           .logits = params.logits,
                           .vocab = params.vocab,
                           .rows = params.rows,
                           .history = params.history,
                           .edits = params.edits,
                           .allowed = params.allowed,
                           .previous = params.previous,
                           .out = params.out,
                           .alternatives = params.alternatives,
                           .max_alternatives = params.max_alternatives,
                           .work = sample_work_.as<uint32_t>(),
                           .summaries = sample_summaries_.as<SummaryPart>()};
  Launch(kernels_.sample_summary(), SampleSummaryShape(batch.capacity, params.vocab), args);
  Launch(kernels_.sample(), SampleShape(batch.capacity), args);
}

}  // namespace quire::kernels::cuda
