#include <gtest/gtest.h>

#include <cstdio>

#include "tests/gpu/probe.h"

// Tests may be listed anywhere, and run where there is a GPU.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const std::string missing = quire::gpu::WhyNoGpu();
  if (!missing.empty() && !testing::GTEST_FLAG(list_tests)) {
    std::printf("%s\n", missing.c_str());
    return quire::gpu::kSkipped;
  }
  return RUN_ALL_TESTS();
}
