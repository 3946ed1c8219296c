#pragma once

#include <cstdint>

#include "core/request/sampling_params.h"
#include "kernels/api/views.h"

namespace quire {

// The kernel's view of a request's sampling parameters for its `generated`-th token (from 0).
// Rules that change nothing are switched off, so that a device can skip them.
kernels::SamplingRow MakeSamplingRow(const SamplingParams& params, int32_t generated);

// Whether the row looks at the tokens so far.
inline bool NeedsHistory(const SamplingParams& params) { return params.repetition_penalty != 1; }

}  // namespace quire
