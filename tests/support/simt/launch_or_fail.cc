#include <gtest/gtest.h>

#include "tests/support/simt/simt_backend.h"

namespace quire::kernels::simt {

void LaunchOrFail(const cuda::KernelEntry& entry, const cuda::LaunchShape& shape, const void* args,
                  uint64_t seed) {
  const std::string error = RunGrid(entry, shape, args, seed);
  if (!error.empty()) ADD_FAILURE() << error << "; seed " << seed;
}

}  // namespace quire::kernels::simt
