#pragma once

#include <cstddef>

#include "kernels/api/types.h"

namespace quire {

// Converts `count` elements at `data`, of any alignment, to float32. Exact for every type.
void ConvertToFloat(const void* data, kernels::DType dtype, size_t count, float* out);

}  // namespace quire
