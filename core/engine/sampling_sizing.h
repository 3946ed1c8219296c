#pragma once

#include <cstddef>

#include "core/engine/engine_options.h"
#include "core/model/step_buffers.h"

namespace quire {

// Room for the sampling rules of a step in which every running request uses all that the limits
// allow. `eos` is the number of the model's end tokens.
SamplingCapacity SamplingCapacityFor(const EngineOptions& options, size_t eos);

}  // namespace quire
