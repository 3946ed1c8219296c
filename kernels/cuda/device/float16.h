#pragma once

#include <cstdint>

#include "kernels/cuda/device/annotations.h"

// 16-bit element types as kernels see them: storage and conversion to float. To them by
// Context::Pack.

namespace quire::kernels::cuda {

struct BFloat16 {
  static constexpr bool kIsBFloat16 = true;
  uint16_t bits;
};

struct Half {
  static constexpr bool kIsBFloat16 = false;
  uint16_t bits;
};

}  // namespace quire::kernels::cuda
