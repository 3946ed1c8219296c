#pragma once

#include <cstdint>
#include <string>

#include "kernels/api/types.h"

namespace quire::cli {

// What this machine can do at most, so that a step's speed can be read as a share of it.
struct MachineSpeed {
  double read_bytes_per_second = 0;  // sequential reads of memory far larger than the caches
  double flops_per_second = 0;       // multiply-adds that never leave the registers, times two
  double load_average = 0;           // of the last minute, before: others' work slows everything
  std::string flops_with;            // the instructions that gave it
};

// Measures both on `threads` threads for about a second; takes the best of several rounds, since
// other work on the machine only ever slows one down. `dtype`: what the model computes in, unless
// its `weights` are integers.
MachineSpeed MeasureMachine(int32_t threads, kernels::DType dtype,
                            kernels::WeightFormat weights = kernels::WeightFormat::kDense);

}  // namespace quire::cli
