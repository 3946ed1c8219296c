#pragma once

#include "kernels/cuda/kernel_table.h"
#include "tests/kernels/cuda/find_kernel.h"
#include "tests/kernels/cuda/test_gpu.h"

namespace quire::kernels::cuda {

// All kernels under test, of a back end.
template <class Backend>
TestKernels MakeTestKernels(const KernelTable& table) {
  return {.table = table,
          .sample = [](int32_t threads) -> KernelEntry {
            return threads == kSampleThreads ? SampleEntry<Backend>()
                                             : Backend::template Entry<SampleKernel<64>>();
          },
          .find = [](int32_t threads) -> KernelEntry {
            return threads == 512 ? Backend::template Entry<FindKernel<512>>()
                                  : Backend::template Entry<FindKernel<64>>();
          }};
}

}  // namespace quire::kernels::cuda
