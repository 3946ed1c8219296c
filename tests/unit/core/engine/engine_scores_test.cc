#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// Logprobs of the prompt: every place once, in order, however the prompt is cut.

namespace quire::testing {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EngineScoresTest : public ::testing::TestWithParam<int> {
 protected:
  static EngineHarness::Options Options(int32_t step_tokens, int32_t scored_tokens) {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    options.engine.max_running_requests = std::min(step_tokens, 4);
    options.engine.max_step_tokens = step_tokens;
    options.engine.max_scored_tokens = scored_tokens;
    return options;
  }
  static RequestId Submit(EngineHarness* h, std::vector<TokenId> prompt, int32_t alternatives) {
    Request request = h->MakeRequest(std::move(prompt), 5);
    request.sampling.prompt_logprobs = alternatives;
    const RequestId id = request.id;
    EXPECT_TRUE(h->engine.Submit(std::move(request)).ok());
    return id;
  }
};

TEST_P(EngineScoresTest, EveryPlaceAfterTheFirstIsScoredOnceInOrderWhateverTheChunks) {
  for (int32_t prompt_tokens : {1, 2, 5, 40}) {
    for (const auto& [step_tokens, scored_tokens] :
         {std::pair{64, 64}, {64, 1}, {64, 7}, {1, 64}, {8, 64}, {8, 8}, {8, 3}}) {
      SCOPED_TRACE(::testing::Message() << prompt_tokens << " tokens, " << step_tokens << " and "
                                        << scored_tokens << " a step");
      EngineHarness h(Options(step_tokens, scored_tokens));
      const std::vector<TokenId> prompt = SteppedPrompt(prompt_tokens, 3);
      const RequestId id = Submit(&h, prompt, 0);
      ASSERT_TRUE(h.RunUntilIdle());
      const auto& record = h.sink.of(id);
      EXPECT_EQ(record.prompt_logprobs, ExpectedScores(prompt));
      EXPECT_TRUE(record.scores_in_order);
      EXPECT_EQ(record.tokens, h.Expected(prompt, 5));
      EXPECT_THAT(record.prompt_alternatives, IsEmpty());
      EXPECT_THAT(h.runner.violations(), IsEmpty());
      EXPECT_LE(h.runner.max_logit_rows_seen(), h.options.engine.MaxLogitRows());
    }
  }
}

TEST_P(EngineScoresTest, ScoredPromptsShareTheRowsAndHoldNobodyElseUp) {
  EngineHarness h(Options(16, 6));
  const std::vector<TokenId> a = SteppedPrompt(30, 1), b = SteppedPrompt(25, 2),
                             plain = SteppedPrompt(20, 3);
  const RequestId a_id = Submit(&h, a, 2), b_id = Submit(&h, b, 1),
                  plain_id = Submit(&h, plain, -1);
  h.engine.Step();
  h.engine.Step();
  h.engine.Step();
  EXPECT_THAT(h.sink.of(plain_id).tokens, SizeIs(GetParam() == 0 ? 2 : 1))
      << "20 tokens beside chunks of 6";
  ASSERT_TRUE(h.RunUntilIdle());
  for (const auto& [id, prompt] : {std::pair{a_id, a}, {b_id, b}}) {
    EXPECT_EQ(h.sink.of(id).prompt_logprobs, ExpectedScores(prompt));
    EXPECT_TRUE(h.sink.of(id).scores_in_order);
    EXPECT_EQ(h.sink.of(id).tokens, h.Expected(prompt, 5));
  }
  EXPECT_THAT(h.sink.of(a_id).prompt_alternatives, SizeIs(29));
  EXPECT_THAT(h.sink.of(a_id).prompt_alternatives, Each(SizeIs(2)));
  EXPECT_THAT(h.sink.of(b_id).prompt_alternatives, Each(SizeIs(1)));
  EXPECT_THAT(h.sink.of(plain_id).prompt_logprobs, IsEmpty());
}

TEST_P(EngineScoresTest, APlaceThatCannotBeScoredFailsTheRequest) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  Request request = e.MakeRequest({1, 2, 3}, 5);
  request.sampling.prompt_logprobs = 0;
  const RequestId id = e.Submit(std::move(request)), other = e.Submit(e.MakeRequest({4}, 5));
  e.RunUntilIdle();
  EXPECT_EQ(e.log.of(id).finish->reason, FinishReason::kError);
  EXPECT_EQ(e.log.of(id).finish->status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(e.log.of(id).tokens, IsEmpty());
  EXPECT_THAT(e.log.of(other).tokens, SizeIs(5));
}

TEST_P(EngineScoresTest, ACancelInBetweenEndsTheScores) {
  EngineHarness h(Options(16, 4));
  const RequestId id = Submit(&h, SteppedPrompt(40, 1), 0);
  for (int i = 0; i < 4; ++i) h.engine.Step();
  h.engine.Cancel(id);
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_THAT(h.sink.of(id).prompt_logprobs, SizeIs(16 - 4 * GetParam()));
  EXPECT_EQ(h.sink.of(id).events_after_terminal, 0);
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineScoresTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

}  // namespace
}  // namespace quire::testing
