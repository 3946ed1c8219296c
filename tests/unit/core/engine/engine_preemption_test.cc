#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"

// Answers are the same however often their requests are preempted: at in-flight depth 0 and 1,
// with and without a prefix cache, with KV that is computed again or comes back from the host.

namespace quire::testing {
namespace {

using ::testing::IsEmpty;

// Every token is two letters, so that a stop string can end inside one.
std::string_view TokenText(TokenId token) {
  static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyza";
  return kLetters.substr(static_cast<size_t>(token % 26), 2);
}

constexpr int kRequests = 16;
int32_t PromptTokens(int i) { return 5 + 5 * i; }

class EnginePreemptionTest : public ::testing::TestWithParam<std::tuple<int, bool, bool>> {
 protected:
  static bool Swaps() { return std::get<2>(GetParam()); }
  static EngineHarness::Options Options(bool overcommit) {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = std::get<0>(GetParam());
    options.prefix_cache = std::get<1>(GetParam());
    if (overcommit && Swaps()) {
      options.swap_bytes = 64 * EngineHarness::SlabBytes(options);
      options.swap_seconds_per_byte = 1e-12;
    }
    options.engine.max_running_requests = 8;
    options.engine.max_step_tokens = 24;  // prompts go in chunks
    options.engine.max_scored_tokens = 10;
    options.engine.overcommit = overcommit;
    options.engine.max_preemptions = 1000;
    options.kv_slabs = overcommit ? 12 : 256;
    options.stop_rules.token_bytes = TokenText;
    return options;
  }

  // Runs `rules` for prompts of several lengths; the answers in order of the prompts.
  static std::vector<RecordingSink::Record> Answers(EngineHarness* h, const SamplingParams& rules) {
    std::vector<RequestId> ids;
    for (int i = 0; i < kRequests; ++i) {
      Request request = h->MakeRequest(SteppedPrompt(PromptTokens(i), i), 60);
      request.sampling = rules;
      request.sampling.max_tokens = 60;
      ids.push_back(request.id);
      EXPECT_TRUE(h->engine.Submit(std::move(request)).ok());
    }
    EXPECT_TRUE(h->RunUntilIdle());
    EXPECT_THAT(h->runner.violations(), IsEmpty());
    EXPECT_THAT(h->engine.Violations(), IsEmpty());
    std::vector<RecordingSink::Record> answers;
    answers.reserve(ids.size());
    for (const RequestId id : ids) answers.push_back(h->sink.take(id));
    return answers;
  }

  // Both runs, of which only the second is short of memory.
  static std::vector<RecordingSink::Record> ExpectUnchanged(const SamplingParams& rules) {
    EngineHarness roomy(Options(false)), tight(Options(true));
    const std::vector<RecordingSink::Record> expected = Answers(&roomy, rules);
    std::vector<RecordingSink::Record> answers = Answers(&tight, rules);
    EXPECT_EQ(roomy.engine.Tenants()[0].load.preempted, 0u);
    EXPECT_GE(tight.engine.Tenants()[0].load.preempted, 2u);
    EXPECT_EQ(tight.engine.Tenants()[0].load.swapped_out,
              Swaps() ? tight.engine.Tenants()[0].load.preempted : 0u);
    for (size_t i = 0; i < answers.size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "prompt " << i);
      EXPECT_EQ(answers[i].terminals, 1);
      EXPECT_EQ(answers[i].events_after_terminal, 0);
      EXPECT_EQ(answers[i].tokens, expected[i].tokens);
      EXPECT_EQ(answers[i].logprobs, expected[i].logprobs);
      EXPECT_EQ(answers[i].alternatives, expected[i].alternatives);
      EXPECT_EQ(answers[i].finish->reason, expected[i].finish->reason);
      EXPECT_EQ(answers[i].finish->trim_bytes, expected[i].finish->trim_bytes);
      EXPECT_EQ(answers[i].finish->generated_tokens, expected[i].finish->generated_tokens);
    }
    return answers;
  }
};

TEST_P(EnginePreemptionTest, PlainAnswersAreUnchanged) {
  const std::vector<RecordingSink::Record> answers = ExpectUnchanged({});
  EngineHarness h(Options(false));
  for (int i = 0; i < kRequests; ++i) {
    EXPECT_EQ(answers[static_cast<size_t>(i)].tokens,
              h.Expected(SteppedPrompt(PromptTokens(i), i), 60))
        << i;
  }
}

TEST_P(EnginePreemptionTest, PenaltiesBadWordsAndAlternativesAreUnchanged) {
  SamplingParams rules;
  rules.repetition_penalty = 1.2f;
  rules.frequency_penalty = 0.5f;
  rules.presence_penalty = 0.5f;
  rules.bad_words = {{5}, {6, 7}};
  rules.min_tokens = 10;
  rules.top_logprobs = 2;
  ExpectUnchanged(rules);
}

TEST_P(EnginePreemptionTest, StopStringsAreFoundAcrossAPreemption) {
  SamplingParams rules;
  rules.stop = {"xyqr", "no", "aba"};
  rules.min_tokens = 25;
  const std::vector<RecordingSink::Record> answers = ExpectUnchanged(rules);
  EXPECT_TRUE(std::any_of(answers.begin(), answers.end(), [](const auto& answer) {
    return answer.finish->reason == FinishReason::kStop;
  })) << "no answer was stopped";
}

TEST_P(EnginePreemptionTest, EveryScoreOfAPromptIsReportedOnce) {
  SamplingParams rules;
  rules.prompt_logprobs = 1;
  const std::vector<RecordingSink::Record> answers = ExpectUnchanged(rules);
  for (int i = 0; i < kRequests; ++i) {
    const RecordingSink::Record& answer = answers[static_cast<size_t>(i)];
    const std::vector<float> scores = ExpectedScores(SteppedPrompt(PromptTokens(i), i));
    EXPECT_TRUE(answer.scores_in_order) << i;
    EXPECT_EQ(answer.prompt_logprobs, scores) << i;
    EXPECT_EQ(answer.prompt_alternatives.size(), scores.size()) << i;
  }
}

TEST_P(EnginePreemptionTest, WhatIsCountedIsWhatWasDelivered) {
  EngineHarness h(Options(true));
  const std::vector<RecordingSink::Record> answers = Answers(&h, {});
  const EngineStats stats = h.engine.Stats();
  EXPECT_EQ(stats.accepted, uint64_t{kRequests});
  EXPECT_EQ(stats.finished[static_cast<size_t>(FinishReason::kLength)], uint64_t{kRequests});
  EXPECT_EQ(stats.generated_tokens, kRequests * 60u);
  const TenantStats tenant = h.engine.Tenants()[0];
  EXPECT_EQ(tenant.started, uint64_t{kRequests});
  EXPECT_EQ(tenant.load.recomputed_tokens == 0, Swaps());
  EXPECT_EQ(stats.kv.swapped_out_bytes > 0, Swaps());
  EXPECT_EQ(stats.kv.swapped_in_bytes, stats.kv.swapped_out_bytes);
  EXPECT_EQ(stats.kv.host_used_bytes, 0u);
  uint64_t cached = 0, prompts = 0;
  for (const RecordingSink::Record& answer : answers) {
    cached += static_cast<uint64_t>(answer.finish->cached_tokens);
    prompts += static_cast<uint64_t>(answer.finish->prompt_tokens);
  }
  EXPECT_EQ(tenant.load.cost, static_cast<double>(prompts - cached) * kPrefillTokenCost +
                                  kRequests * 60 * kSampledTokenCost)
      << "neither recomputed nor discarded tokens cost anything";
}

INSTANTIATE_TEST_SUITE_P(DepthPrefixCacheAndSwap, EnginePreemptionTest,
                         ::testing::Combine(::testing::Values(0, 1), ::testing::Bool(),
                                            ::testing::Values(false)));
// Only devices that run beside the host swap.
INSTANTIATE_TEST_SUITE_P(Swap, EnginePreemptionTest,
                         ::testing::Combine(::testing::Values(1), ::testing::Bool(),
                                            ::testing::Values(true)));

}  // namespace
}  // namespace quire::testing
