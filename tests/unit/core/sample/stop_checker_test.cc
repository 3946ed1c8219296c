#include "core/sample/stop_checker.h"

#include <array>

#include "gtest/gtest.h"

namespace quire {
namespace {

// A vocabulary of words; the last one is the end token, which has no text.
constexpr TokenId kHello = 0, kSpace = 1, kStopHere = 2, kSt = 3, kOpX = 4, kEos = 5;
constexpr std::array<std::string_view, 6> kWords = {"hello", " ", "stop here", "st", "opx", ""};

class StopCheckerTest : public ::testing::Test {
 protected:
  StopCheckerTest() {
    rules_.eos_token_ids = {kEos};
    rules_.token_bytes = [](TokenId token) { return kWords.at(static_cast<size_t>(token)); };
    params_.max_tokens = 100;
  }

  StopRules rules_;
  SamplingParams params_;
};

TEST_F(StopCheckerTest, GoesOnWithoutAReasonToStop) {
  StopChecker checker(&rules_, &params_);
  for (int32_t i = 1; i < 100; ++i) EXPECT_EQ(checker.Check(kHello, i), std::nullopt);
  EXPECT_EQ(checker.trim_bytes(), 0u);
  EXPECT_EQ(checker.hold_back_bytes(), 0u);
}

TEST_F(StopCheckerTest, TheLastAllowedTokenEndsByLength) {
  params_.max_tokens = 3;
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kHello, 1), std::nullopt);
  EXPECT_EQ(checker.Check(kHello, 2), std::nullopt);
  EXPECT_EQ(checker.Check(kHello, 3), FinishReason::kLength);
  EXPECT_EQ(checker.trim_bytes(), 0u) << "all of the text belongs to the answer";
}

TEST_F(StopCheckerTest, AnEndTokenStops) {
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kEos, 1), FinishReason::kStop);
  EXPECT_EQ(checker.trim_bytes(), 0u) << "it has no text";
}

TEST_F(StopCheckerTest, AnyOfSeveralEndTokensStops) {
  rules_.eos_token_ids = {kEos, kSpace};
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kSpace, 1), FinishReason::kStop);
  EXPECT_EQ(checker.trim_bytes(), 1u) << "and its text is cut off";
}

TEST_F(StopCheckerTest, IgnoreEosGoesPastTheEndTokenButNotPastAStopId) {
  params_.ignore_eos = true;
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kEos, 1), std::nullopt);
  params_.stop_token_ids = {kEos};
  EXPECT_EQ(checker.Check(kEos, 2), FinishReason::kStop);
}

TEST_F(StopCheckerTest, TheTextOfAStopIdIsCutOff) {
  params_.stop_token_ids = {kSpace, kHello};
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kHello, 1), FinishReason::kStop);
  EXPECT_EQ(checker.trim_bytes(), 5u);
}

TEST_F(StopCheckerTest, AStopStringIsCutOffWithWhatFollowsIt) {
  params_.stop = {"stop"};
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kHello, 1), std::nullopt);
  EXPECT_EQ(checker.Check(kStopHere, 2), FinishReason::kStop);
  EXPECT_EQ(checker.trim_bytes(), 9u);
}

TEST_F(StopCheckerTest, AStopStringMayCrossTokens) {
  params_.stop = {"stop"};
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kSt, 1), std::nullopt);
  EXPECT_EQ(checker.hold_back_bytes(), 2u);
  EXPECT_EQ(checker.Check(kOpX, 2), FinishReason::kStop);
  EXPECT_EQ(checker.trim_bytes(), 5u) << "the x behind it goes too";
}

TEST_F(StopCheckerTest, ATokenWithoutTextNeitherBreaksNorMakesAMatch) {
  params_.stop = {"stop"};
  params_.ignore_eos = true;
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kSt, 1), std::nullopt);
  EXPECT_EQ(checker.Check(kEos, 2), std::nullopt);
  EXPECT_EQ(checker.hold_back_bytes(), 2u);
  EXPECT_EQ(checker.Check(kOpX, 3), FinishReason::kStop);
}

TEST_F(StopCheckerTest, AStopOnTheLastAllowedTokenIsAStop) {
  params_.max_tokens = 2;
  params_.stop = {"stop"};
  StopChecker by_string(&rules_, &params_);
  EXPECT_EQ(by_string.Check(kSt, 1), std::nullopt);
  EXPECT_EQ(by_string.Check(kOpX, 2), FinishReason::kStop);
  StopChecker by_token(&rules_, &params_);
  EXPECT_EQ(by_token.Check(kEos, 2), FinishReason::kStop);
}

TEST_F(StopCheckerTest, NothingStopsBeforeMinTokens) {
  params_.min_tokens = 3;
  params_.stop = {"hello"};
  params_.stop_token_ids = {kSpace};
  for (TokenId token : {kHello, kSpace, kEos}) {
    StopChecker checker(&rules_, &params_);
    EXPECT_EQ(checker.Check(token, 1), std::nullopt);
    EXPECT_EQ(checker.Check(token, 2), std::nullopt);
    EXPECT_EQ(checker.Check(token, 3), FinishReason::kStop) << "token " << token;
  }
}

TEST_F(StopCheckerTest, AStopStringThatEndsAfterMinTokensMayBeginBefore) {
  params_.min_tokens = 2;
  params_.stop = {"stop"};
  StopChecker checker(&rules_, &params_);
  EXPECT_EQ(checker.Check(kSt, 1), std::nullopt);
  EXPECT_EQ(checker.Check(kOpX, 2), FinishReason::kStop);
  EXPECT_EQ(checker.trim_bytes(), 5u);
}

TEST_F(StopCheckerTest, WhatStoppedMayBeIncludedAndNothingIsHeldBackThen) {
  params_.include_stop = true;
  params_.stop = {"stop"};
  params_.stop_token_ids = {kSpace};
  StopChecker by_string(&rules_, &params_);
  EXPECT_EQ(by_string.Check(kSt, 1), std::nullopt);
  EXPECT_EQ(by_string.hold_back_bytes(), 0u);
  EXPECT_EQ(by_string.Check(kOpX, 2), FinishReason::kStop);
  EXPECT_EQ(by_string.trim_bytes(), 1u) << "the x behind it";
  StopChecker by_id(&rules_, &params_);
  EXPECT_EQ(by_id.Check(kSpace, 1), FinishReason::kStop);
  EXPECT_EQ(by_id.trim_bytes(), 0u);
}

TEST_F(StopCheckerTest, SpecialTokensAreTextWhereTheyAreShown) {
  rules_.shown_token_bytes = [](TokenId token) {
    return token == kEos ? std::string_view("</s>") : kWords.at(static_cast<size_t>(token));
  };
  for (bool shown : {false, true}) {
    params_.skip_special_tokens = !shown;
    StopChecker by_id(&rules_, &params_);
    EXPECT_EQ(by_id.Check(kEos, 1), FinishReason::kStop);
    EXPECT_EQ(by_id.trim_bytes(), shown ? 4u : 0u);
  }
  params_.ignore_eos = true;
  params_.stop = {"o</s>"};
  StopChecker by_string(&rules_, &params_);
  EXPECT_EQ(by_string.Check(kHello, 1), std::nullopt);
  EXPECT_EQ(by_string.hold_back_bytes(), 1u);
  EXPECT_EQ(by_string.Check(kEos, 2), FinishReason::kStop);
  EXPECT_EQ(by_string.trim_bytes(), 5u);
}

}  // namespace
}  // namespace quire
