#include "core/sample/logit_edits.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using kernels::LogitEdit;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr float kBan = -std::numeric_limits<float>::infinity();

// "token" or "token after other", with its bias.
MATCHER_P3(Edit, token, after, bias, "") {
  return arg.token == token && arg.after == after && arg.bias == bias;
}

std::vector<LogitEdit> Edits(const SamplingParams& params, const DrawState& state,
                             const std::vector<TokenId>& eos = {}) {
  std::vector<LogitEdit> edits;
  AppendLogitEdits(params, eos, state, &edits);
  return edits;
}

TEST(LogitEditsTest, WithoutRulesThereAreNone) {
  EXPECT_THAT(Edits({}, {.tokens = {}, .generated = 0}, {7}), IsEmpty());
}

TEST(LogitEditsTest, ABiasIsAddedAndTheLowestBans) {
  SamplingParams params;
  params.logit_bias = {{5, 2.5f}, {6, -100}, {7, 100}, {8, -99.5f}};
  EXPECT_THAT(Edits(params, {}), ElementsAre(Edit(5, -1, 2.5f), Edit(6, -1, kBan),
                                             Edit(7, -1, 100.0f), Edit(8, -1, -99.5f)));
}

TEST(LogitEditsTest, EndTokensAndStopIdsAreOutUntilMinTokensAreGenerated) {
  SamplingParams params;
  params.min_tokens = 3;
  params.stop_token_ids = {9};
  for (int32_t generated : {0, 2}) {
    EXPECT_THAT(Edits(params, {.tokens = {}, .generated = generated}, {1, 2}),
                ElementsAre(Edit(1, -1, kBan), Edit(2, -1, kBan), Edit(9, -1, kBan)));
  }
  EXPECT_THAT(Edits(params, {.tokens = {}, .generated = 3}, {1, 2}), IsEmpty());
  params.ignore_eos = true;
  EXPECT_THAT(Edits(params, {.tokens = {}, .generated = 0}, {1, 2}),
              ElementsAre(Edit(9, -1, kBan)));
}

TEST(LogitEditsTest, ABadWordsLastTokenIsOutWhereTheRestPrecedesIt) {
  SamplingParams params;
  params.bad_words = {{4}, {2, 4}, {1, 2, 5}, {2, 2, 6}, {1, 2, 3, 7}, {9, 1, 2, 8}};
  const std::vector<TokenId> tokens = {1, 2};
  EXPECT_THAT(Edits(params, {.tokens = tokens}),
              ElementsAre(Edit(4, -1, kBan), Edit(4, -1, kBan), Edit(5, -1, kBan)));
}

TEST(LogitEditsTest, WithTheLastTokenOnTheDeviceItDecidesThere) {
  SamplingParams params;
  params.bad_words = {{4}, {2, 4}, {1, 2, 5}, {2, 3, 6}, {1, 2, 3, 7}, {9, 1, 2, 8}};
  const std::vector<TokenId> tokens = {1, 2};
  EXPECT_THAT(Edits(params, {.tokens = tokens, .last_on_device = true}),
              ElementsAre(Edit(4, -1, kBan), Edit(4, 2, kBan), Edit(6, 3, kBan), Edit(7, 3, kBan)));
}

TEST(LogitEditsTest, NeverMoreThanTheLimitsPromise) {
  const SamplingLimits limits{.max_stop_strings = 0,
                              .max_stop_string_bytes = 1,
                              .max_stop_token_ids = 2,
                              .max_logit_biases = 3,
                              .max_allowed_token_ids = 0,
                              .max_bad_words = 4,
                              .max_bad_word_tokens = 5,
                              .max_top_logprobs = 0};
  SamplingParams params;
  params.min_tokens = 1;
  params.stop_token_ids = {1, 2};
  params.logit_bias = {{1, 1}, {2, 1}, {3, 1}};
  params.bad_words = {{1}, {2}, {3}, {4}};
  EXPECT_EQ(static_cast<int32_t>(Edits(params, {}, {5, 6}).size()), MaxLogitEdits(limits, 2));
}

}  // namespace
}  // namespace quire
