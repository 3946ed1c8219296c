#include <gtest/gtest.h>

#include <numeric>

#include "kernels/cuda/kernel_table.h"
#include "tests/kernels/cuda/find_kernel.h"
#include "tests/kernels/cuda/test_gpu.h"

// The search in a running sum, with targets that a draw hits once in 2^53 times.

namespace quire::kernels::cuda {
namespace {

template <int kThreads>
int32_t Find(const std::vector<float>& values, double share) {
  std::vector<int32_t> ids = Poisoned<int32_t>(kThreads);
  const FindArgs args = {values.data(), static_cast<int32_t>(values.size()), share, ids.data()};
  Launch(GpuUnderTest().find(kThreads), {1, 1, sizeof(FindRoom<kThreads>)}, args, 1);
  for (int32_t id : ids) EXPECT_EQ(id, ids[0]) << "threads disagree";
  return ids[0];
}

// The values are whole numbers, so that all sums are exact.
template <int kThreads>
void ExpectTheFirstIdAbove(const std::vector<float>& values, double target) {
  const double total = std::accumulate(values.begin(), values.end(), 0.0);
  double sum = 0;
  int32_t expected = 0;
  for (size_t i = 0; i < values.size() && sum <= target; ++i) {
    sum += values[i];
    if (values[i] > 0) expected = static_cast<int32_t>(i);
  }
  EXPECT_EQ(Find<kThreads>(values, target / total), expected)
      << "target " << target << " of " << total << ", " << values.size() << " ids";
}

TEST(SampleFindTest, FindsTheFirstIdAboveTheTargetAndTheLastWithAnythingWhereNoneIs) {
  std::mt19937_64 random(1);
  for (size_t count : {1, 5, 127, 128, 129, 1000, 2049}) {
    for (size_t zeros : {size_t{0}, count / 3, count - 1}) {
      std::vector<float> values(count);
      // The total is a power of two, so that a share of it is exact too.
      float left = 0x1p14f;
      for (size_t i = zeros / 2; i + zeros / 2 + 1 < count; ++i) {
        values[i] = static_cast<float>(random() % 5);
        left -= values[i];
      }
      values[count / 2] += left;
      for (double target : {0.0, 1.0, 2.0, 100.0, 0x1p13, 0x1p14 - 1, 0x1p14, 0x1p15}) {
        ExpectTheFirstIdAbove<64>(values, target);
        ExpectTheFirstIdAbove<512>(values, target);
      }
    }
  }
}

}  // namespace
}  // namespace quire::kernels::cuda
