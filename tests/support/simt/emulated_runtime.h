#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cuda/gpu_runtime.h"

namespace quire::kernels::simt {

// Which of the two queues gets ahead of the other, as far as no wait for an event holds it back.
enum class QueueOrder : uint8_t {
  kAsNeeded,        // neither: each runs only as far as somebody waits for it
  kTransfersFirst,  // transfers run as soon as they may
  kComputeFirst,    // work runs as soon as it may
  kRandom,          // either, a little at a time
};

struct EmulatedGpuOptions {
  uint64_t seed = 1;  // of the order in which blocks and warps run, and of kRandom
  QueueOrder order = QueueOrder::kAsNeeded;
  size_t memory_bytes = size_t{1} << 30;  // Allocate fails beyond
  int32_t multiprocessors = 4;
  int32_t max_shared_bytes = 163 << 10;  // that a block may ask for
  int32_t failing_captures = 0;          // so many recordings of graphs fail, the first ones
  int64_t lost_after = -1;               // >= 0: so many kernels run, then the GPU fails
  int64_t lost_after_copies = -1;        // the same, for copies
  size_t pinned_bytes = SIZE_MAX;        // AllocatePinned fails beyond
};

// The GPU that tests of the whole device run on: of the emulator, unless a real one is linked in
// its place (tests/gpu/real_runtime.cc). The emulator's is none: memory is the host's, filled with
// NaN; work is queued and runs, each queue in order, only when somebody waits for it (unless
// `order` says otherwise), so that whatever is read, overwritten or freed too early is seen. What a
// kernel's checks find fails the test and, as a GPU's faults do, the device.
std::unique_ptr<cuda::GpuRuntime> MakeTestGpu(const EmulatedGpuOptions& options = {});

// The size of a copy that keeps a queue of this GPU busy for a while, where a GPU keeps its own
// time.
size_t DelayingCopyBytes();

}  // namespace quire::kernels::simt
