#include "core/engine/sampling_sizing.h"

#include "core/sample/logit_edits.h"

namespace quire {

SamplingCapacity SamplingCapacityFor(const EngineOptions& options, size_t eos) {
  const int64_t requests = options.max_running_requests;
  return {.edits = requests * MaxLogitEdits(options.sampling, eos),
          .allowed = requests * options.sampling.max_allowed_token_ids,
          .alternatives = options.sampling.max_top_logprobs};
}

}  // namespace quire
