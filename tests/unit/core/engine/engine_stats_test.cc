#include "core/engine/engine_stats.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

namespace quire::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

TEST(HistogramTest, AnEdgeBelongsToTheBucketBelowIt) {
  const std::array<double, 3> edges = {1, 2, 4};
  Histogram<3> histogram;
  for (double value : {0.0, 1.0, 1.001, 2.0, 4.0, 4.001, 1e9}) histogram.Observe(edges, value);
  EXPECT_THAT(histogram.counts, ElementsAre(2, 2, 1, 2));
  EXPECT_DOUBLE_EQ(histogram.sum, 1 + 1.001 + 2 + 4 + 4.001 + 1e9);
}

TEST(HistogramTest, AllEdgesAscend) {
  const auto ascend = [](const auto& edges) {
    return std::adjacent_find(edges.begin(), edges.end(), std::greater_equal<>()) == edges.end();
  };
  EXPECT_TRUE(ascend(kTimeToFirstTokenEdges));
  EXPECT_TRUE(ascend(kInterTokenEdges));
  EXPECT_TRUE(ascend(kRequestDurationEdges));
  EXPECT_TRUE(ascend(kStepDurationEdges));
  EXPECT_TRUE(ascend(kSchedulerDurationEdges));
  EXPECT_TRUE(ascend(kTenantFirstTokenEdges));
  EXPECT_TRUE(ascend(kStepSizeEdges));
  EXPECT_TRUE(ascend(kRequestTokensEdges));
  EXPECT_TRUE(ascend(kPreemptionsEdges));
}

class EngineStatsTest : public ::testing::TestWithParam<int> {
 protected:
  static EngineHarness::Options Options() {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    return options;
  }
};

TEST_P(EngineStatsTest, ANewEngineHasCountedNothingAndShowsItsKv) {
  EngineHarness h(Options());
  const EngineStats stats = h.engine.Stats();
  EXPECT_EQ(stats.accepted, 0u);
  EXPECT_EQ(stats.last_step, TimePoint{});
  EXPECT_EQ(stats.kv.classes[0].total_blocks, h.kv.Snapshot().classes[0].total_blocks);
}

TEST_P(EngineStatsTest, EveryAcceptedRequestIsWaitingRunningOrFinishedAfterEveryStep) {
  EngineHarness::Options options = Options();
  options.engine.max_running_requests = 3;
  options.model.nan_period = 30;
  EngineHarness h(options);
  for (TokenId first = 0; first < 12; ++first) {
    Request request = h.MakeRequest({first, 1}, 6);
    if (first % 4 == 1) request.deadline = h.clock.Now() + milliseconds(4);
    if (first % 4 == 2) h.engine.Cancel(request.id);
    ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
  }
  for (bool worked = true; worked;) {
    h.clock.Advance(milliseconds(1));
    worked = h.engine.Step();
    const EngineStats stats = h.engine.Stats();
    const uint64_t ended =
        std::accumulate(stats.finished.begin(), stats.finished.end(), uint64_t{0});
    EXPECT_EQ(stats.accepted, 12u);
    EXPECT_EQ(stats.accepted, static_cast<uint64_t>(stats.waiting + stats.running) + ended);
    EXPECT_EQ(ended, h.sink.terminals());
    EXPECT_EQ(stats.waiting_tokens, 2 * stats.waiting);
    EXPECT_EQ(static_cast<uint64_t>(h.engine.live_requests()), stats.accepted - ended);
    EXPECT_EQ(stats.request_duration.Count(), ended);
  }
}

TEST_P(EngineStatsTest, StepsAreCountedByWhatTheyHold) {
  EngineHarness::Options options = Options();
  options.engine.max_running_requests = 2;
  options.engine.max_step_tokens = 10;
  EngineHarness h(options);
  ASSERT_TRUE(h.engine.Submit(h.MakeRequest(std::vector<TokenId>(10, 1), 4)).ok());
  h.engine.Step();  // the first prompt
  ASSERT_TRUE(h.engine.Submit(h.MakeRequest(std::vector<TokenId>(12, 2), 3)).ok());
  ASSERT_TRUE(h.RunUntilIdle());  // 1 + 9 tokens, 1 + 3 tokens, two decodes, one decode
  const EngineStats stats = h.engine.Stats();
  EXPECT_EQ(stats.Steps(StepKind::kPrefill), 1u);
  EXPECT_EQ(stats.Steps(StepKind::kMixed), 2u);
  EXPECT_EQ(stats.Steps(StepKind::kDecode), 2u);
  EXPECT_EQ(h.engine.Progress().steps, 5u);
  EXPECT_EQ(h.engine.Progress().live_requests, 0);
  EXPECT_EQ(stats.prompt_tokens, 22u);
  EXPECT_EQ(stats.generated_tokens, 7u);
  EXPECT_EQ(stats.discarded_tokens, 0u);
  EXPECT_EQ(stats.step_tokens.Count(), 5u);
}

TEST_P(EngineStatsTest, AStepIsCountedAsPlannedEvenWhenItsRequestsEndedOnTheWay) {
  EndlessRunner runner(GetParam());
  EngineOptions engine = BareEngine::DefaultOptions();
  engine.max_running_requests = 1;
  engine.max_step_tokens = 8;
  BareEngine e(&runner, engine);
  const RequestId decoding = e.Submit(e.MakeRequest({1}, 100));
  e.engine.Step();
  e.engine.Step();
  e.engine.Cancel(decoding);
  e.RunUntilIdle();
  EXPECT_EQ(e.engine.Stats().Steps(StepKind::kPrefill), 1u);
  EXPECT_EQ(e.engine.Stats().Steps(StepKind::kDecode), 1u);
  EXPECT_EQ(e.engine.Stats().prompt_tokens, 1u);
  const RequestId prefilling = e.Submit(e.MakeRequest(std::vector<TokenId>(20, 2), 5));
  e.engine.Step();
  e.engine.Step();
  e.engine.Cancel(prefilling);
  e.RunUntilIdle();
  EXPECT_EQ(e.engine.Stats().Steps(StepKind::kPrefill), 3u);
  EXPECT_EQ(e.engine.Stats().Steps(StepKind::kDecode), 1u);
  EXPECT_EQ(e.engine.Stats().prompt_tokens, 17u) << "computed, though nobody needs it";
}

TEST_P(EngineStatsTest, LatenciesAreMeasuredFromArrivalAndBetweenTokens) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  e.Submit(e.MakeRequest({1}, 3));
  for (int i = 0; i < 3 + GetParam(); ++i) {
    e.clock.Advance(milliseconds(100));
    e.engine.Step();
  }
  const EngineStats stats = e.engine.Stats();
  EXPECT_EQ(stats.queue_time.Count(), 1u);
  EXPECT_NEAR(stats.queue_time.sum, .1, 1e-9);
  EXPECT_EQ(stats.time_to_first_token.Count(), 1u);
  EXPECT_NEAR(stats.time_to_first_token.sum, .1 * (1 + GetParam()), 1e-9);
  EXPECT_EQ(stats.inter_token.Count(), 2u);
  EXPECT_NEAR(stats.inter_token.sum, .2, 1e-9);
  EXPECT_NEAR(stats.request_duration.sum, .1 * (3 + GetParam()), 1e-9);
  EXPECT_EQ(stats.last_step, e.clock.Now());
  EXPECT_NEAR(stats.prefill_time.sum, .1 * GetParam(), 1e-9);
  EXPECT_NEAR(stats.decode_time.sum, .2, 1e-9);
  EXPECT_NEAR(stats.time_per_output_token.sum, .1, 1e-9);
  EXPECT_EQ(stats.request_prompt_tokens.sum, 1);
  EXPECT_EQ(stats.request_generated_tokens.sum, 3);
  EXPECT_EQ(stats.request_preemptions.counts[0], 1u);
  EXPECT_EQ(stats.step_sequences.sum, 3);
  EXPECT_EQ(stats.step_tokens.sum, 3);
  const TenantStats tenant = e.engine.Tenants()[0];
  EXPECT_EQ(tenant.time_to_first_token.Count(), 1u);
  EXPECT_NEAR(tenant.time_to_first_token.sum, .1 * (1 + GetParam()), 1e-9);
}

TEST_P(EngineStatsTest, AnAnswerOfOneTokenHasNoTimeBetweenTokens) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  e.Submit(e.MakeRequest({1}, 1));
  e.RunUntilIdle();
  EXPECT_EQ(e.engine.Stats().request_generated_tokens.Count(), 1u);
  EXPECT_EQ(e.engine.Stats().decode_time.Count(), 0u);
  EXPECT_EQ(e.engine.Stats().time_per_output_token.Count(), 0u);
}

TEST_P(EngineStatsTest, WhoWaitsIsCountedByWhatFor) {
  EndlessRunner runner(GetParam());
  EngineOptions engine = BareEngine::DefaultOptions();
  engine.max_running_requests = 2;
  engine.pause_grace = Duration::zero();
  BareEngine e(&runner, engine);
  TenantTable tenants(2);
  tenants[0].name = "a";
  tenants[1].name = "b";
  tenants[1].max_running = 1;
  ASSERT_TRUE(e.engine.SetTenants(tenants).ok());
  const auto submit = [&](uint32_t tenant) {
    Request request = e.MakeRequest({1}, 100);
    request.tenant = TenantId(tenant);
    return e.Submit(std::move(request));
  };
  submit(1);
  submit(1);
  e.engine.Step();
  EXPECT_EQ(e.engine.Stats().waits.tenant, 1) << "b may run one";
  const RequestId paused = submit(0);
  submit(0);
  e.engine.Step();
  EXPECT_EQ(e.engine.Stats().waits.turn, 1) << "both places are taken";
  EXPECT_EQ(e.engine.Stats().waits.tenant, 1);
  e.engine.SetPaused(paused, true);
  e.clock.Advance(milliseconds(1));
  e.engine.Step();
  const EngineStats stats = e.engine.Stats();
  EXPECT_EQ(stats.waits.reader, 1);
  EXPECT_EQ(stats.waits.turn, 0) << "it has its place";
  EXPECT_EQ(stats.waits.turn + stats.waits.tenant + stats.waits.prefix + stats.waits.reader,
            stats.waiting);
  EXPECT_EQ(e.engine.Violations(), std::vector<std::string>());
  e.engine.AbortAll();
  e.RunUntilIdle();
  EXPECT_EQ(e.engine.Stats().waits.tenant + e.engine.Stats().waits.reader, 0);
}

TEST_P(EngineStatsTest, TimeInsideTheRunnerIsToldFromTimeOutsideIt) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  runner.on_launch = [&e](const BatchInput&) {
    e.clock.Advance(milliseconds(7));
    return absl::OkStatus();
  };
  e.Submit(e.MakeRequest({1}, 3));
  e.RunUntilIdle();
  EXPECT_NEAR(e.engine.Stats().forward_seconds, .021, 1e-9);
  EXPECT_NEAR(e.engine.Stats().schedule_seconds, 0, 1e-9);
}

TEST_P(EngineStatsTest, TimeOutsideTheRunnerHoldsTheDeliveryOfEvents) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  e.log.on_deliver = [&e] { e.clock.Advance(milliseconds(5)); };
  e.Submit(e.MakeRequest({1}, 3));
  e.RunUntilIdle();
  EXPECT_NEAR(e.engine.Stats().schedule_seconds, .015, 1e-9);
  EXPECT_NEAR(e.engine.Stats().forward_seconds, 0, 1e-9);
}

TEST_P(EngineStatsTest, WhatATenantWasChargedNeverFalls) {
  EndlessRunner runner(GetParam());
  BareEngine e(&runner);
  const RequestId id = e.Submit(e.MakeRequest({1}, 100));
  for (int i = 0; i < 5; ++i) e.engine.Step();
  const TenantLoad before = e.engine.Tenants()[0].load;
  e.engine.Cancel(id);
  e.RunUntilIdle();
  EXPECT_EQ(e.engine.Stats().discarded_tokens, static_cast<uint64_t>(GetParam())) << "refunded";
  const auto generated = static_cast<double>(e.engine.Stats().generated_tokens);
  EXPECT_EQ(e.engine.scheduler().fair_share().received(TenantId()),
            kPrefillTokenCost + generated * kSampledTokenCost);
  const TenantLoad after = e.engine.Tenants()[0].load;
  EXPECT_GE(after.cost, before.cost);
  EXPECT_GE(after.cost_of_due, before.cost_of_due);
  EXPECT_GE(after.due, before.due);
}

TEST_P(EngineStatsTest, ATenantThatOnlyWaitsIsSeenToBeDueMore) {
  EndlessRunner runner(GetParam());
  EngineOptions engine = BareEngine::DefaultOptions();
  engine.max_running_requests = 1;
  BareEngine e(&runner, engine);
  TenantTable tenants(2);
  tenants[0].name = "a";
  tenants[1].name = "b";
  ASSERT_TRUE(e.engine.SetTenants(tenants).ok());
  e.Submit(e.MakeRequest({1}, 100));
  e.engine.Step();
  Request request = e.MakeRequest({1}, 100);
  request.tenant = TenantId(1);
  e.Submit(std::move(request));
  double due = 0;
  for (int second = 0; second < 3; ++second) {
    e.clock.Advance(std::chrono::seconds(1));
    e.engine.Step();
    const TenantStats waits = e.engine.Tenants()[1];
    EXPECT_EQ(waits.started, 0u);
    EXPECT_GT(waits.load.due, std::exchange(due, waits.load.due));
  }
  e.engine.AbortAll();
  e.RunUntilIdle();
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineStatsTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

}  // namespace
}  // namespace quire::testing
