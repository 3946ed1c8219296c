#include "core/sample/sampling_rules.h"

namespace quire {

kernels::SamplingRow MakeSamplingRow(const SamplingParams& params, int32_t generated) {
  kernels::SamplingRow row;
  row.temperature = params.temperature;
  row.repetition_penalty = params.repetition_penalty;
  row.seed = params.seed;
  row.counter = static_cast<uint64_t>(generated);
  if (params.temperature == 0) return row;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.top_k = params.top_k;
  return row;
}

}  // namespace quire
