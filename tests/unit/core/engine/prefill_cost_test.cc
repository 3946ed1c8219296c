#include "core/engine/prefill_cost.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

Duration Milliseconds(int n) { return std::chrono::milliseconds(n); }

TEST(PrefillCostTest, IsTimeByTokens) {
  PrefillCost cost;
  EXPECT_EQ(cost.SecondsPerToken(), 0);
  cost.OnStep(Milliseconds(10), 100);
  EXPECT_DOUBLE_EQ(cost.SecondsPerToken(), 1e-4);
}

TEST(PrefillCostTest, LargeStepsWeighMore) {
  PrefillCost cost;
  cost.OnStep(Milliseconds(100), 1000);
  cost.OnStep(Milliseconds(5), 5);  // 1 ms a token, of which most is not the chunk's
  EXPECT_LT(cost.SecondsPerToken(), 1.1e-4);
}

TEST(PrefillCostTest, FollowsADeviceThatHasBecomeSlower) {
  PrefillCost cost;
  for (int i = 0; i < 100; ++i) cost.OnStep(Milliseconds(10), 100);
  for (int i = 0; i < 100; ++i) cost.OnStep(Milliseconds(20), 100);
  EXPECT_NEAR(cost.SecondsPerToken(), 2e-4, 0.02e-4);
}

}  // namespace
}  // namespace quire
