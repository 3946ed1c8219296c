#include <algorithm>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/engine/bare_engine.h"

// Stops by end token, stop id and stop string, at in-flight depth 0 and 1.

namespace quire::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// Every token is two letters, so that a stop string can end inside one.
std::string_view TokenText(TokenId token) {
  static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyza";
  return kLetters.substr(static_cast<size_t>(token % 26), 2);
}

class EngineStopTest : public ::testing::TestWithParam<int> {
 protected:
  EngineStopTest() : runner_({.depth = GetParam()}), e_(&runner_, Options(), Rules()) {
    std::vector<TokenId> prefix = {1};
    for (int i = 0; i < 40; ++i) {
      expected_.push_back(*ExpectedToken({}, prefix, 1, {}));
      prefix.push_back(expected_.back());
    }
  }
  ~EngineStopTest() override {
    EXPECT_THAT(runner_.violations(), IsEmpty());
    EXPECT_EQ(e_.kv.Snapshot().classes[0].free_blocks, e_.kv.Snapshot().classes[0].total_blocks);
  }

  static EngineOptions Options() { return BareEngine::DefaultOptions(); }
  StopRules Rules() {
    StopRules rules;
    rules.eos_token_ids = {kEos};
    rules.token_bytes = TokenText;
    return rules;
  }

  EventLog::Record Run(const std::function<void(SamplingParams*)>& change) {
    Request request = e_.MakeRequest({1}, 40);
    change(&request.sampling);
    const RequestId id = e_.Submit(std::move(request));
    e_.RunUntilIdle();
    const EventLog::Record record = e_.log.of(id);
    EXPECT_EQ(record.terminals, 1);
    EXPECT_EQ(record.events_after_terminal, 0);
    EXPECT_TRUE(record.finish->status.ok()) << record.finish->status;
    return record;
  }

  // The text of the first `count` expected tokens.
  std::string Text(size_t count) const {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += TokenText(expected_[i]);
    return text;
  }

  static constexpr TokenId kEos = 2000;  // outside what the fake model says
  FakeModelRunner runner_;
  std::vector<TokenId> expected_;
  BareEngine e_;
};

TEST_P(EngineStopTest, WithoutAReasonToStopItGoesOnToMaxTokens) {
  const EventLog::Record record = Run([](SamplingParams*) {});
  EXPECT_EQ(record.finish->reason, FinishReason::kLength);
  EXPECT_EQ(record.tokens, expected_);
  EXPECT_THAT(record.hold_backs, ::testing::Each(0u));
}

TEST_P(EngineStopTest, AStopIdEndsAtItsFirstOccurrence) {
  const TokenId id = expected_[7];
  const auto first =
      static_cast<size_t>(std::find(expected_.begin(), expected_.end(), id) - expected_.begin());
  const EventLog::Record record = Run([id](SamplingParams* p) { p->stop_token_ids = {id}; });
  EXPECT_EQ(record.finish->reason, FinishReason::kStop);
  EXPECT_THAT(record.tokens, SizeIs(first + 1));
  EXPECT_EQ(record.tokens.back(), id);
  EXPECT_EQ(record.finish->trim_bytes, 2u);
  EXPECT_EQ(record.finish->generated_tokens, static_cast<int32_t>(first + 1));
}

TEST_P(EngineStopTest, AStopStringOverTokensIsTrimmedWithItsRest) {
  for (size_t n = 2; n < 12; ++n) {
    // From the last letter of one token to the first of the next but one.
    const std::string stop = Text(n + 1).substr(2 * (n - 2) + 1, 4);
    SCOPED_TRACE(stop);
    const size_t begin = Text(40).find(stop);
    const size_t tokens = (begin + stop.size() + 1) / 2;
    const EventLog::Record record = Run([&stop](SamplingParams* p) { p->stop = {stop}; });
    EXPECT_EQ(record.finish->reason, FinishReason::kStop);
    ASSERT_THAT(record.tokens, SizeIs(tokens));
    EXPECT_EQ(record.finish->trim_bytes, 2 * tokens - begin);
  }
}

TEST_P(EngineStopTest, WhatMayBecomeAStopStringIsHeldBack) {
  const std::string stop = Text(8).substr(10) + "!";  // tokens 5, 6 and 7, then what never comes
  const EventLog::Record record = Run([&stop](SamplingParams* p) { p->stop = {stop}; });
  EXPECT_EQ(record.finish->reason, FinishReason::kLength);
  ASSERT_THAT(record.hold_backs, SizeIs(40));
  for (size_t n = 0; n < 40; ++n) {
    size_t expected = 0;
    for (size_t k = 1; k < stop.size(); ++k) {
      if (Text(n + 1).ends_with(stop.substr(0, k))) expected = k;
    }
    EXPECT_EQ(record.hold_backs[n], expected) << "after token " << n;
  }
  EXPECT_EQ(record.hold_backs[7], 6u);
}

TEST_P(EngineStopTest, TheLastEventHoldsNothingBack) {
  const std::string stop = Text(8).substr(10) + "!";
  const EventLog::Record record = Run([&stop](SamplingParams* p) {
    p->stop = {stop};
    p->max_tokens = 8;  // ends within what may become the stop string
  });
  EXPECT_EQ(record.finish->reason, FinishReason::kLength);
  EXPECT_EQ(record.hold_backs[6], 4u);
  EXPECT_EQ(record.hold_backs[7], 0u);
}

TEST_P(EngineStopTest, AStoppedRequestDiscardsAtMostOneRowAStepInFlight) {
  Run([this](SamplingParams* p) { p->stop_token_ids = {expected_[0]}; });
  EXPECT_EQ(e_.engine.Stats().discarded_tokens, static_cast<uint64_t>(GetParam()));
  EXPECT_EQ(e_.engine.Stats().generated_tokens, 1u);
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineStopTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

TEST(EngineEosTest, TheModelsEndTokenStopsUnlessItIsIgnored) {
  const FakeModelRunner::Options model{.eos = 7, .eos_period = 5};
  FakeModelRunner runner(model);
  StopRules rules = BareEngine::DefaultRules();
  rules.eos_token_ids = {7};
  BareEngine e(&runner, BareEngine::DefaultOptions(), rules);
  for (bool ignore : {false, true}) {
    Request request = e.MakeRequest({3}, 60);
    request.sampling.ignore_eos = ignore;
    const RequestId id = e.Submit(std::move(request));
    e.RunUntilIdle();
    const EventLog::Record record = e.log.of(id);
    const auto ends = std::count(record.tokens.begin(), record.tokens.end(), 7);
    if (ignore) {
      EXPECT_EQ(record.finish->reason, FinishReason::kLength);
      EXPECT_THAT(record.tokens, SizeIs(60));
      EXPECT_GT(ends, 1);
    } else {
      EXPECT_EQ(record.finish->reason, FinishReason::kStop);
      EXPECT_EQ(record.tokens.back(), 7);
      EXPECT_EQ(ends, 1);
    }
  }
}

}  // namespace
}  // namespace quire::testing
