#pragma once

#include <cstdint>

#include "kernels/api/types.h"

namespace quire::cli {

// A loop of multiply-adds in registers; `run` returns a value so that it cannot be left out.
struct FlopsLoop {
  const char* name = "";
  int64_t flops_per_iteration = 0;
  float (*run)(int64_t iterations) = nullptr;
};

// The fastest loop that this processor can run for products in `dtype`, or of 8-bit integers where
// `weights` are integers.
FlopsLoop FastestFlopsLoop(kernels::DType dtype, kernels::WeightFormat weights);

}  // namespace quire::cli
