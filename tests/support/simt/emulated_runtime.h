#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cuda/gpu_runtime.h"

namespace quire::kernels::simt {

struct EmulatedGpuOptions {
  uint64_t seed = 1;                      // of the order in which blocks and warps run
  size_t memory_bytes = size_t{1} << 30;  // Allocate fails beyond
  int32_t multiprocessors = 4;
  int32_t max_shared_bytes = 163 << 10;  // that a block may ask for
  int32_t failing_captures = 0;          // so many recordings of graphs fail, the first ones
  int64_t lost_after = -1;               // >= 0: so many kernels run, then the GPU fails
};

// A GPU that is none: memory is the host's, filled with NaN; work is queued and runs, in order,
// only when somebody waits for it, so that whatever is read or freed too early is seen. What a
// kernel's checks find fails the test and, as a GPU's faults do, the device.
std::unique_ptr<cuda::GpuRuntime> MakeEmulatedGpu(const EmulatedGpuOptions& options = {});

}  // namespace quire::kernels::simt
