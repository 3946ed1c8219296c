#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// Requests that begin with tokens whose KV is known, at in-flight depth 0 and 1.

namespace quire::testing {
namespace {

using ::testing::IsEmpty;

std::vector<TokenId> Prompt(size_t tokens, TokenId last = 1) {
  std::vector<TokenId> prompt(tokens);
  for (size_t i = 0; i < tokens; ++i) prompt[i] = static_cast<TokenId>(i * 7 % 1000);
  prompt.back() = last;
  return prompt;
}

class EnginePrefixTest : public ::testing::TestWithParam<int> {
 protected:
  EnginePrefixTest() : h_(Options()) {}
  ~EnginePrefixTest() override {
    EXPECT_THAT(h_.runner.violations(), IsEmpty());
    EXPECT_THAT(h_.kv.CheckInvariants(), IsEmpty());
  }

  static EngineHarness::Options Options() {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    options.prefix_cache = true;
    return options;
  }

  RequestId Submit(Request request) {
    const RequestId id = request.id;
    EXPECT_TRUE(h_.engine.Submit(std::move(request)).ok());
    return id;
  }
  // Serves one request to its end and returns how many tokens of its prompt were found.
  int32_t Serve(const std::vector<TokenId>& prompt, const std::string& salt = "",
                int32_t prompt_logprobs = -1) {
    Request request = h_.MakeRequest(prompt, 6);
    request.cache_salt = salt;
    request.sampling.prompt_logprobs = prompt_logprobs;
    const RequestId id = Submit(std::move(request));
    EXPECT_TRUE(h_.RunUntilIdle());
    EXPECT_EQ(h_.sink.of(id).tokens, h_.Expected(prompt, 6));
    return h_.sink.of(id).finish->cached_tokens;
  }

  EngineHarness h_;
};

TEST_P(EnginePrefixTest, OnlyWhatIsNewIsComputed) {
  EXPECT_EQ(Serve(Prompt(100)), 0);
  EXPECT_EQ(h_.engine.Stats().prompt_tokens, 100u);
  EXPECT_EQ(Serve(Prompt(100, 2)), 96);
  EXPECT_EQ(h_.engine.Stats().prompt_tokens, 104u);
  EXPECT_EQ(h_.engine.Stats().kv.prefix_hit_tokens, 96u);
  EXPECT_EQ(h_.engine.Stats().kv.prefix_queried_tokens, 200u);
}

TEST_P(EnginePrefixTest, WhoWaitsForAPrefixStartsWhenItIsThere) {
  Submit(h_.MakeRequest(Prompt(100), 30));
  const RequestId second = Submit(h_.MakeRequest(Prompt(100, 2), 1));
  for (int i = 0; i < 10; ++i) h_.engine.Step();
  ASSERT_EQ(h_.sink.of(second).terminals, 1) << "and not when the other ends";
  EXPECT_EQ(h_.sink.of(second).finish->cached_tokens, 96);
}

TEST_P(EnginePrefixTest, AFlushIsSeenInTheLoadOfATenantThatRests) {
  Serve(Prompt(100));
  EXPECT_GT(h_.engine.Tenants()[0].load.prefix_bytes, 0);
  ASSERT_TRUE(h_.engine.FlushPrefixes(std::nullopt).ok());
  h_.engine.Step();
  EXPECT_EQ(h_.engine.Tenants()[0].load.prefix_bytes, 0);
  EXPECT_EQ(Serve(Prompt(100)), 0);
}

TEST_P(EnginePrefixTest, TheNextTurnOfAConversationFindsTheAnswerToo) {
  std::vector<TokenId> prompt = Prompt(60);
  Serve(prompt);
  const std::vector<TokenId> answer = h_.Expected(prompt, 6);
  prompt.insert(prompt.end(), answer.begin(), answer.end());
  prompt.resize(90, 5);
  EXPECT_EQ(Serve(prompt), 64);
}

TEST_P(EnginePrefixTest, ARunningRequestIsFoundAsFarAsItHasCome) {
  Submit(h_.MakeRequest(Prompt(200), 200));
  for (int step = 0; step < 3; ++step) h_.engine.Step();  // at least two chunks of 64
  const RequestId second = Submit(h_.MakeRequest(Prompt(200, 2), 1));
  while (h_.sink.of(second).terminals == 0) ASSERT_TRUE(h_.engine.Step());
  EXPECT_GE(h_.sink.of(second).finish->cached_tokens, 128);
  EXPECT_EQ(h_.engine.live_requests(), 1);
}

TEST_P(EnginePrefixTest, RequestsOfAnotherSaltComputeTheirOwn) {
  Serve(Prompt(100), "a");
  EXPECT_EQ(Serve(Prompt(100), "b"), 0);
  EXPECT_EQ(Serve(Prompt(100)), 0);
  EXPECT_EQ(Serve(Prompt(100), "a"), 96);
}

TEST_P(EnginePrefixTest, APromptWhoseScoresAreWantedIsComputedAndServesOthers) {
  Serve(Prompt(100));
  EXPECT_EQ(Serve(Prompt(100), "", 0), 0);
  EXPECT_EQ(Serve(Prompt(100, 9)), 96);
}

TEST_P(EnginePrefixTest, WhatAFailedRequestHasComputedIsNotFound) {
  EngineHarness::Options options = Options();
  options.model.nan_period = 1;  // every row
  EngineHarness h(options);
  for (int i = 0; i < 2; ++i) {
    Request request = h.MakeRequest(Prompt(100), 6);
    const RequestId id = request.id;
    ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
    ASSERT_TRUE(h.RunUntilIdle());
    EXPECT_EQ(h.sink.of(id).finish->reason, FinishReason::kError);
    EXPECT_EQ(h.sink.of(id).finish->cached_tokens, 0);
  }
  EXPECT_EQ(h.kv.Snapshot().classes[0].cached_blocks, 0);
}

TEST_P(EnginePrefixTest, APromptWhoseScoresFailIsNotFound) {
  EndlessRunner runner(GetParam());  // scores of prompts fail
  BareEngine bare(&runner);
  ASSERT_TRUE(bare.kv.EnablePrefixCache());
  Request request = bare.MakeRequest(Prompt(60), 6);
  request.sampling.prompt_logprobs = 0;
  bare.Submit(std::move(request));
  bare.RunUntilIdle();
  EXPECT_EQ(bare.engine.Stats().finished[static_cast<size_t>(FinishReason::kError)], 1u);
  EXPECT_EQ(bare.kv.Snapshot().classes[0].cached_blocks, 0);
}

// Or one client could take from others what they share.
TEST_P(EnginePrefixTest, RulesThatLeaveNoTokenCostOthersNothing) {
  Serve(Prompt(100));
  Request request = h_.MakeRequest(Prompt(100, 2), 6);
  request.sampling.allowed_token_ids = {5};
  request.sampling.logit_bias = {{5, -100}};
  const RequestId id = Submit(std::move(request));
  ASSERT_TRUE(h_.RunUntilIdle());
  ASSERT_EQ(h_.sink.of(id).finish->reason, FinishReason::kError);
  EXPECT_EQ(Serve(Prompt(100, 3)), 96);
}

INSTANTIATE_TEST_SUITE_P(Depths, EnginePrefixTest, ::testing::Values(0, 1));

}  // namespace
}  // namespace quire::testing
