#pragma once

#include <cstdint>

#include "kernels/api/float_convert.h"

namespace quire::kernels::simt {

using kernels::FloatToF16;

// An fp8 of the e4m3 kind (Micikevicius et al., 2022): no infinity, NaN is 0x7f and 0xff.
float Fp8ToFloat(uint32_t bits);
// The nearest one, ties to even, clamped to +-448.
uint8_t FloatToFp8(float value);

}  // namespace quire::kernels::simt
