#include "core/sample/sampling_rules.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

SamplingParams AllRules() {
  SamplingParams params;
  params.temperature = 0.7f;
  params.top_p = 0.9f;
  params.min_p = 0.05f;
  params.top_k = 40;
  params.repetition_penalty = 1.2f;
  params.seed = 12345678901234567890u;
  return params;
}

TEST(SamplingRulesTest, EveryRuleReachesTheKernel) {
  const kernels::SamplingRow row = MakeSamplingRow(AllRules(), 3);
  EXPECT_EQ(row.temperature, 0.7f);
  EXPECT_EQ(row.top_p, 0.9f);
  EXPECT_EQ(row.min_p, 0.05f);
  EXPECT_EQ(row.top_k, 40);
  EXPECT_EQ(row.repetition_penalty, 1.2f);
  EXPECT_EQ(row.seed, 12345678901234567890u);
  EXPECT_EQ(row.counter, 3u);
}

TEST(SamplingRulesTest, GreedySwitchesOffWhatCannotChangeTheBestToken) {
  SamplingParams params = AllRules();
  params.temperature = 0;
  const kernels::SamplingRow row = MakeSamplingRow(params, 0);
  EXPECT_EQ(row.temperature, 0);
  EXPECT_EQ(row.top_p, 1);
  EXPECT_EQ(row.min_p, 0);
  EXPECT_EQ(row.top_k, 0);
  EXPECT_EQ(row.repetition_penalty, 1.2f) << "a penalty does change it";
}

TEST(SamplingRulesTest, OnlyAPenaltyLooksAtTheTokensSoFar) {
  SamplingParams params = AllRules();
  EXPECT_TRUE(NeedsHistory(params));
  params.repetition_penalty = 0.5f;
  EXPECT_TRUE(NeedsHistory(params));
  params.repetition_penalty = 1;
  EXPECT_FALSE(NeedsHistory(params));
}

}  // namespace
}  // namespace quire
