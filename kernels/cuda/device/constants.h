#pragma once

namespace quire::kernels::cuda {

// Of e to base 2: e^x = 2^(x * kLog2E).
inline constexpr float kLog2E = 1.4426950408889634f;

}  // namespace quire::kernels::cuda
