#include "server/cli/load/sample_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace quire::cli {
namespace {

TEST(SampleSetTest, PercentilesAreNearestRanksWhateverTheOrder) {
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 1);
  std::shuffle(values.begin(), values.end(), std::mt19937_64(4));
  SampleSet set(1000, 1);
  for (int value : values) set.Add(value);
  const SampleSummary summary = set.Summarize();
  EXPECT_EQ(summary.count, 1000);
  EXPECT_EQ(summary.kept, 1000);
  EXPECT_DOUBLE_EQ(summary.mean, 500.5);
  EXPECT_EQ(summary.p50, 500);
  EXPECT_EQ(summary.p90, 900);
  EXPECT_EQ(summary.p99, 990);
  EXPECT_EQ(summary.max, 1000);
}

TEST(SampleSetTest, AFewSamplesHaveTheirLargestAsP99) {
  SampleSet set(10, 1);
  set.Add(3);
  EXPECT_EQ(set.Summarize().p50, 3);
  EXPECT_EQ(set.Summarize().p99, 3);
  set.Add(1);
  set.Add(2);
  EXPECT_EQ(set.Summarize().p50, 2);
  EXPECT_EQ(set.Summarize().p90, 3);
}

TEST(SampleSetTest, NoSamplesAreZeros) {
  const SampleSummary summary = SampleSet(10, 1).Summarize();
  EXPECT_EQ(summary.count, 0);
  EXPECT_EQ(summary.p99, 0);
  EXPECT_EQ(summary.max, 0);
}

TEST(SampleSetTest, BeyondItsCapacityItKeepsAnEvenChoiceAndExactTotals) {
  for (uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SampleSet set(2000, seed);
    for (int value = 1; value <= 100000; ++value) set.Add(value);
    const SampleSummary summary = set.Summarize();
    EXPECT_EQ(summary.count, 100000);
    EXPECT_EQ(summary.kept, 2000);
    EXPECT_DOUBLE_EQ(summary.mean, 50000.5);
    EXPECT_EQ(summary.max, 100000);
    EXPECT_NEAR(summary.p50, 50000, 5000);
    EXPECT_NEAR(summary.p90, 90000, 3000);
  }
}

}  // namespace
}  // namespace quire::cli
