#include <algorithm>

#include "kernels/cpu/cpu_ops.h"

namespace quire::kernels {

void CpuOps::Sample(const SampleParams& params) {
  const int32_t rows = params.batch->counts->logit_rows;
  for (TokenChooser& chooser : choosers_) {
    if (chooser.Reserve(params.vocab)) continue;
    error_ = DeviceStatus(DeviceStatus::Code::kOutOfMemory,
                          "no memory to sample from " + std::to_string(params.vocab) + " ids");
    std::fill_n(params.out, rows, SampledToken{});
    return;
  }
  pool_->ParallelFor(rows, [&](int64_t row, int worker) {
    params.out[row] = choosers_[static_cast<size_t>(worker)].Choose(kernels_, params, row);
  });
}

}  // namespace quire::kernels
