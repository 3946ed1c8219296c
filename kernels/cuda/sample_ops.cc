#include "kernels/cuda/cuda_ops.h"

namespace quire::kernels::cuda {

DeviceStatus CudaOps::PrepareSampling(const PrepareParams& params) {
  return sample_work_.Allocate(runtime_, GpuBuffer::Kind::kDevice,
                               SampleWorkBytes(params.capacity, params.vocab));
}

void CudaOps::Sample(const SampleParams& params) {
  const BatchView& batch = *params.batch;
  Launch(kernels_.sample(), SampleShape(batch.capacity),
         SampleArgs{.counts = batch.counts,
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
                    .work = sample_work_.as<uint32_t>()});
}

}  // namespace quire::kernels::cuda
