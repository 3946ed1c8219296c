#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"

// Sampling rules on their way through the engine, at in-flight depth 0 and 1: a decode row is then
// planned while the token before it is known to the device alone.

namespace quire::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class EngineRulesTest : public ::testing::TestWithParam<int> {
 protected:
  static EngineHarness::Options Options() {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    return options;
  }
  // Runs one request to its end beside another, which must not change.
  static RecordingSink::Record Run(EngineHarness* h, const SamplingParams& rules) {
    Request request = h->MakeRequest(Prompt(), 0), other = h->MakeRequest({500, 501}, 30);
    const int32_t max_tokens = rules.max_tokens == 0 ? 20 : rules.max_tokens;
    request.sampling = rules;
    request.sampling.max_tokens = max_tokens;
    const RequestId id = request.id, other_id = other.id;
    EXPECT_TRUE(h->engine.Submit(std::move(request)).ok());
    EXPECT_TRUE(h->engine.Submit(std::move(other)).ok());
    EXPECT_TRUE(h->RunUntilIdle());
    EXPECT_EQ(h->sink.of(other_id).tokens, h->Expected({500, 501}, 30));
    return h->sink.take(id);
  }
  static std::vector<TokenId> Prompt() { return {11, 12, 13, 14, 15}; }
};

TEST_P(EngineRulesTest, EveryPenaltyReachesTheDraw) {
  SamplingParams repetition, frequency, presence;
  repetition.repetition_penalty = 1.2f;
  frequency.frequency_penalty = 0.5f;
  presence.presence_penalty = -0.5f;
  EngineHarness h(Options());
  for (const SamplingParams& rules : {repetition, frequency, presence}) {
    EXPECT_EQ(Run(&h, rules).tokens, h.Expected(Prompt(), 20, rules));
    EXPECT_NE(Run(&h, rules).tokens, h.Expected(Prompt(), 20)) << "the rule changes nothing";
  }
}

TEST_P(EngineRulesTest, ABadWordOfAnyLengthIsAvoidedWhereverItWouldCome) {
  EngineHarness h(Options());
  const std::vector<TokenId> answer = h.Expected(Prompt(), 20);
  std::vector<TokenId> text = Prompt();
  text.insert(text.end(), answer.begin(), answer.end());
  for (size_t end : {Prompt().size() + 1, Prompt().size() + 2, Prompt().size() + 9}) {
    for (size_t length : {1, 2, 3, 5}) {
      SCOPED_TRACE(::testing::Message() << length << " tokens to " << end);
      SamplingParams rules;
      const auto last = text.begin() + static_cast<int64_t>(end);
      rules.bad_words = {{last - static_cast<int64_t>(length), last}};
      const std::vector<TokenId> tokens = Run(&h, rules).tokens;
      EXPECT_EQ(tokens, h.Expected(Prompt(), 20, rules));
      EXPECT_NE(tokens, answer);
      const auto same = static_cast<int64_t>(end - Prompt().size()) - 1;
      EXPECT_TRUE(std::equal(tokens.begin(), tokens.begin() + same, answer.begin()));
    }
  }
}

TEST_P(EngineRulesTest, OnlyAllowedAndUnbiasedTokensAreDrawn) {
  EngineHarness h(Options());
  SamplingParams rules;
  rules.allowed_token_ids = {3, 4, 5};
  rules.logit_bias = {{4, -100}};
  const std::vector<TokenId> tokens = Run(&h, rules).tokens;
  EXPECT_EQ(tokens, h.Expected(Prompt(), 20, rules));
  EXPECT_THAT(tokens, ::testing::Each(::testing::AnyOf(3, 5)));
}

TEST_P(EngineRulesTest, NoEndTokenComesBeforeMinTokens) {
  EngineHarness::Options options = Options();
  options.model.eos = 7;
  options.model.eos_period = 3;
  options.stop_rules.eos_token_ids = {7};
  EngineHarness h(options);
  SamplingParams rules;
  for (int32_t min_tokens : {0, 1, 8, 20}) {
    rules.min_tokens = min_tokens;
    const RecordingSink::Record record = Run(&h, rules);
    EXPECT_EQ(record.tokens, h.Expected(Prompt(), 20, rules));
    EXPECT_GE(record.tokens.size(), static_cast<size_t>(min_tokens));
    EXPECT_EQ(record.finish->reason == FinishReason::kStop, record.tokens.back() == 7);
  }
}

TEST_P(EngineRulesTest, RulesThatLeaveNothingEndTheirRequestAlone) {
  EngineHarness h(Options());
  SamplingParams rules;
  rules.allowed_token_ids = {3};
  rules.bad_words = {{3, 3, 3}};
  const RecordingSink::Record record = Run(&h, rules);
  EXPECT_EQ(record.finish->reason, FinishReason::kError);
  EXPECT_EQ(record.finish->status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(record.finish->status.message()),
              HasSubstr("after 2 generated tokens allowed_token_ids, logit_bias, bad_words"));
  EXPECT_THAT(record.tokens, ::testing::ElementsAre(3, 3));
  EXPECT_EQ(h.engine.Stats().discarded_tokens, static_cast<uint64_t>(GetParam()));
}

TEST_P(EngineRulesTest, AlternativesComeWithEveryTokenThatAskedForThem) {
  EngineHarness h(Options());
  SamplingParams rules;
  rules.top_logprobs = 3;
  const RecordingSink::Record record = Run(&h, rules);
  ASSERT_EQ(record.alternatives.size(), 20u);
  uint64_t hash = kEmptyPrefix;
  for (TokenId token : Prompt()) hash = Extend(hash, token);
  for (size_t i = 0; i < 20; ++i) {
    ASSERT_EQ(record.alternatives[i].size(), 3u);
    for (int32_t n = 0; n < 3; ++n) {
      const kernels::TokenLogprob expected = AlternativeAt(h.options.model, hash, n);
      const TokenAlternative& got = record.alternatives[i][static_cast<size_t>(n)];
      EXPECT_EQ(got, (TokenAlternative{expected.token_id, expected.logprob}));
    }
    hash = Extend(hash, record.tokens[i]);
  }
  EXPECT_THAT(Run(&h, {}).alternatives, ::testing::Each(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineRulesTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

}  // namespace
}  // namespace quire::testing
