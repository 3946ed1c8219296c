#include "core/sample/sampling_rules.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SamplingParams AllRules() {
  SamplingParams params;
  params.temperature = 0.7f;
  params.top_p = 0.9f;
  params.min_p = 0.05f;
  params.top_k = 40;
  params.repetition_penalty = 1.2f;
  params.frequency_penalty = 0.5f;
  params.presence_penalty = -0.25f;
  params.top_logprobs = 4;
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
  EXPECT_EQ(row.frequency_penalty, 0.5f);
  EXPECT_EQ(row.presence_penalty, -0.25f);
  EXPECT_EQ(row.alternatives, 4);
  EXPECT_EQ(row.target, -1);
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
  EXPECT_EQ(row.frequency_penalty, 0.5f);
  EXPECT_EQ(row.presence_penalty, -0.25f);
  EXPECT_EQ(row.alternatives, 4);
}

TEST(SamplingRulesTest, EachPenaltyLooksAtItsPartOfTheTokens) {
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5};
  SamplingParams params;
  EXPECT_THAT(PenalisedHistory(params, tokens, 3), IsEmpty());
  params.frequency_penalty = 1;
  EXPECT_THAT(PenalisedHistory(params, tokens, 3), ElementsAre(4, 5));
  EXPECT_THAT(PenalisedHistory(params, tokens, 5), IsEmpty());
  params.frequency_penalty = 0;
  params.presence_penalty = -1;
  EXPECT_THAT(PenalisedHistory(params, tokens, 3), ElementsAre(4, 5));
  params.repetition_penalty = 0.5f;
  EXPECT_THAT(PenalisedHistory(params, tokens, 3), ElementsAre(1, 2, 3, 4, 5));
}

}  // namespace
}  // namespace quire
