#include <map>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// What a step launches and when its results come out.

namespace quire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<TokenId> Prompt(size_t tokens) {
  std::vector<TokenId> prompt(tokens);
  for (size_t i = 0; i < tokens; ++i) prompt[i] = static_cast<TokenId>(i * 7 % 1000);
  return prompt;
}

class EngineStepTest : public ::testing::TestWithParam<int> {};

TEST_P(EngineStepTest, APromptInChunksGivesTheAnswerOfTheWholePrompt) {
  for (int32_t step_tokens : {1, 2, 3, 16, 17, 31, 64, 99, 100, 101, 128}) {
    SCOPED_TRACE(::testing::Message() << step_tokens << " tokens a step");
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    options.engine.max_running_requests = 1;
    options.engine.max_step_tokens = step_tokens;
    EngineHarness h(options);
    Request request = h.MakeRequest(Prompt(100), 6);
    const RequestId id = request.id;
    ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
    ASSERT_TRUE(h.RunUntilIdle());
    EXPECT_EQ(h.sink.of(id).tokens, h.Expected(Prompt(100), 6));
    EXPECT_THAT(h.runner.violations(), IsEmpty());
    EXPECT_EQ(h.runner.max_step_tokens_seen(), std::min(step_tokens, 100));
    EXPECT_EQ(h.engine.Stats().prompt_tokens, 100u);
    EXPECT_EQ(h.engine.Stats().Steps(StepKind::kPrefill),
              static_cast<uint64_t>((100 + step_tokens - 1) / step_tokens));
    EXPECT_EQ(h.engine.Stats().Steps(StepKind::kDecode), 5u);
  }
}

TEST_P(EngineStepTest, AFullBatchOfManyRequestsGivesEachItsOwnAnswer) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.model.depth = GetParam();
  options.engine.max_running_requests = 100;
  options.engine.max_step_tokens = 150;
  options.kv_slabs = 300;
  EngineHarness h(options);
  std::map<RequestId, TokenId> first_tokens;
  for (TokenId first = 0; first < 100; ++first) {
    Request request = h.MakeRequest({first, 3}, 8);
    first_tokens[request.id] = first;
    ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
  }
  ASSERT_TRUE(h.RunUntilIdle());
  for (const auto& [id, first] : first_tokens) {
    EXPECT_EQ(h.sink.of(id).tokens, h.Expected({first, 3}, 8));
  }
  EXPECT_GT(h.engine.Stats().Steps(StepKind::kMixed), 0u);
}

TEST_P(EngineStepTest, ResultsComeOutOnceDepthMoreStepsHaveBeenLaunched) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  const RequestId id = e.Submit(e.MakeRequest({1}, 3));
  EXPECT_FALSE(e.log.deliveries() > 0);
  for (int step = 1; step <= 3; ++step) {
    EXPECT_TRUE(e.engine.Step());
    EXPECT_EQ(e.engine.steps_in_flight(), static_cast<size_t>(GetParam()));
    EXPECT_THAT(e.log.of(id).tokens, SizeIs(step - GetParam()));
  }
  EXPECT_EQ(e.engine.Step(), GetParam() == 1) << "what is on its way is completed";
  EXPECT_EQ(e.engine.steps_in_flight(), 0u);
  EXPECT_THAT(e.log.of(id).tokens, SizeIs(3));
  EXPECT_FALSE(e.engine.Step());
}

TEST_P(EngineStepTest, AStepDeliversAllItsEventsTogether) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  for (TokenId t : {1, 2, 3}) e.Submit(e.MakeRequest({t}, 4));
  e.RunUntilIdle();
  EXPECT_EQ(e.log.deliveries(), 4);
  EXPECT_EQ(e.log.terminals(), 3u);
}

TEST_P(EngineStepTest, EveryDrawHasACounterOfItsOwn) {
  EndlessRunner runner(GetParam());
  std::vector<uint64_t> counters;
  runner.on_launch = [&counters](const BatchInput& input) {
    for (const kernels::SamplingRow& row : input.sampling) {
      EXPECT_EQ(row.seed, 99u);
      EXPECT_EQ(row.temperature, 0.5f);
      counters.push_back(row.counter);
    }
    return absl::OkStatus();
  };
  BareEngine e(&runner);
  Request request = e.MakeRequest({1, 2}, 5);
  request.sampling.seed = 99;
  request.sampling.temperature = 0.5f;
  e.Submit(std::move(request));
  e.RunUntilIdle();
  EXPECT_THAT(counters, ElementsAre(0, 1, 2, 3, 4));
}

TEST_P(EngineStepTest, KvGrowsAsTheSequenceDoes) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  e.Submit(e.MakeRequest(Prompt(15), 20));
  const int64_t blocks[] = {1, 1, 2, 2};
  for (int64_t expected : blocks) {
    e.engine.Step();
    EXPECT_EQ(e.kv.Snapshot().classes[0].active_blocks, expected);
  }
  EXPECT_EQ(e.kv.Snapshot().classes[0].filled_slots, 18);
  EXPECT_EQ(e.kv.Snapshot().classes[0].promised_blocks, 1) << "34 positions take 3 blocks";
  e.RunUntilIdle();
}

TEST_P(EngineStepTest, APenaltySeesEveryTokenSoFarEvenThatStillOnTheDevice) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.model.depth = GetParam();
  EngineHarness h(options);
  Request request = h.MakeRequest(Prompt(20), 12);
  request.sampling.repetition_penalty = 1.1f;
  const SamplingParams rules = request.sampling;
  const RequestId id = request.id;
  ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.of(id).tokens, h.Expected(Prompt(20), 12, rules));
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineStepTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

TEST(EngineHistoryTest, OnlyARepetitionPenaltyCarriesTheTokensSoFar) {
  EndlessRunner runner;
  std::vector<std::vector<int32_t>> histories;
  runner.on_launch = [&histories](const BatchInput& input) {
    for (const kernels::SamplingRow& row : input.sampling) {
      const auto begin = input.history.begin() + row.history_start;
      histories.emplace_back(begin, begin + row.history_count);
    }
    return absl::OkStatus();
  };
  BareEngine e(&runner);
  Request without = e.MakeRequest({9}, 3), with = e.MakeRequest({7, 8}, 3);
  with.sampling.repetition_penalty = 1.1f;
  e.Submit(std::move(without));
  e.Submit(std::move(with));
  e.RunUntilIdle();
  EXPECT_THAT(histories, ElementsAre(IsEmpty(), ElementsAre(7, 8), IsEmpty(), ElementsAre(7, 8, 1),
                                     IsEmpty(), ElementsAre(7, 8, 1, 1)));
}

}  // namespace
}  // namespace quire::testing
