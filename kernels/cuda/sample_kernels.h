#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/device/sample.cuh"
#include "kernels/cuda/kernel_entry.h"

// The sampling kernel, its launch and the scratch memory that the caller gives it.

namespace quire::kernels::cuda {

inline constexpr int kSampleThreads = 512;

template <class Backend>
KernelEntry SampleEntry() {
  return Backend::template Entry<SampleKernel<kSampleThreads>>();
}

// Rows beyond this many blocks come in further rounds, with the same scratch.
inline constexpr int32_t kMaxSampleBlocks = 512;

inline LaunchShape SampleShape(const BatchCapacity& capacity) {
  return {std::clamp(capacity.logit_rows, 1, kMaxSampleBlocks), 1,
          SampleKernel<kSampleThreads>::kSharedBytes};
}

// Of SampleArgs::work.
inline size_t SampleWorkBytes(const BatchCapacity& capacity, int32_t vocab) {
  return static_cast<size_t>(SampleShape(capacity).grid_x) *
         static_cast<size_t>(SampleWorkStride(vocab)) * sizeof(uint32_t);
}

}  // namespace quire::kernels::cuda
