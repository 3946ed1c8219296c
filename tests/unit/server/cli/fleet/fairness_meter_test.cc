#include "server/cli/fleet/fairness_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire::cli {
namespace {

using std::chrono::seconds;
using ::testing::IsEmpty;

constexpr TimePoint kBegin = TimePoint(std::chrono::hours(1));
constexpr TimePoint kEnd = kBegin + seconds(100);

TEST(FairnessMeterTest, CountsWhileEveryTenantWaitsSomewhere) {
  FairnessMeter meter({3, 1}, 2, kBegin, kEnd);
  EXPECT_FALSE(meter.contended());
  EXPECT_THAT(meter.Result(), IsEmpty());
  meter.SetWaiting(0, 0, 2, kBegin + seconds(1));
  EXPECT_FALSE(meter.contended());
  meter.SetWaiting(1, 1, 1, kBegin + seconds(2));  // on another replica
  EXPECT_TRUE(meter.contended());
  meter.SetWaiting(0, 0, 1, kBegin + seconds(3));
  EXPECT_TRUE(meter.contended());
  meter.SetWaiting(0, 0, 0, kBegin + seconds(5));
  EXPECT_FALSE(meter.contended());
  EXPECT_DOUBLE_EQ(meter.ContendedSeconds(kBegin + seconds(50)), 3);
}

TEST(FairnessMeterTest, SharesAreOfTheFleetAndOfEachReplica) {
  FairnessMeter meter({3, 1}, 3, kBegin, kEnd);
  meter.AddCost(0, 0, 50, kBegin);
  meter.AddCost(0, 1, 50, kBegin);
  meter.AddCost(1, 0, 90, kBegin);
  meter.AddCost(1, 1, 10, kBegin);
  meter.AddCost(1, 1, 1000, kEnd);  // too late
  meter.AddCost(1, 1, 1000, kBegin - seconds(1));
  const std::vector<TenantFairness> result = meter.Result();
  ASSERT_EQ(result.size(), 2u);
  EXPECT_DOUBLE_EQ(result[0].due, 0.75);
  EXPECT_DOUBLE_EQ(result[0].share, 0.7);
  EXPECT_DOUBLE_EQ(result[0].least_share, 0.5);
  EXPECT_DOUBLE_EQ(result[0].most_share, 0.9);
  EXPECT_DOUBLE_EQ(result[1].due, 0.25);
  EXPECT_DOUBLE_EQ(result[1].share, 0.3);
}

TEST(FairnessMeterTest, TimeOutsideTheMeasuredPartDoesNotCount) {
  FairnessMeter meter({1}, 1, kBegin, kEnd);
  meter.SetWaiting(0, 0, 1, kBegin - seconds(10));
  EXPECT_DOUBLE_EQ(meter.ContendedSeconds(kBegin + seconds(4)), 4);
  EXPECT_DOUBLE_EQ(meter.ContendedSeconds(kEnd + seconds(4)), 100);
}

}  // namespace
}  // namespace quire::cli
