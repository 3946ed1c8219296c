#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/device/sample.cuh"
#include "kernels/cuda/kernel_entry.h"

// The sampling kernels, their launches, one after the other with the same arguments, and the
// scratch memory that the caller gives them.

namespace quire::kernels::cuda {

inline constexpr int kSampleThreads = 512;

template <class Backend>
KernelEntry SampleEntry() {
  return Backend::template Entry<SampleKernel<kSampleThreads>>();
}

template <class Backend>
KernelEntry SampleSummaryEntry() {
  return Backend::template Entry<SampleSummaryKernel>();
}

// Rows beyond this many blocks come in further rounds, with the same scratch.
inline constexpr int32_t kMaxSampleBlocks = 512;

inline LaunchShape SampleShape(const BatchCapacity& capacity) {
  return {std::clamp(capacity.logit_rows, 1, kMaxSampleBlocks), 1,
          SampleKernel<kSampleThreads>::kSharedBytes};
}

inline LaunchShape SampleSummaryShape(const BatchCapacity& capacity, int32_t vocab) {
  return {SampleShape(capacity).grid_x, SummaryParts(vocab), SampleSummaryKernel::kSharedBytes};
}

// Of SampleArgs::summaries.
inline size_t SampleSummaryBytes(const BatchCapacity& capacity, int32_t vocab) {
  return static_cast<size_t>(std::max(capacity.logit_rows, 1)) *
         static_cast<size_t>(SummaryParts(vocab)) * sizeof(SummaryPart);
}

// Of SampleArgs::work.
inline size_t SampleWorkBytes(const BatchCapacity& capacity, int32_t vocab) {
  return static_cast<size_t>(SampleShape(capacity).grid_x) *
         static_cast<size_t>(SampleWorkStride(vocab)) * sizeof(uint32_t);
}

}  // namespace quire::kernels::cuda
