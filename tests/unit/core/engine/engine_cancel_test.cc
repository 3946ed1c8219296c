#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// Cancels at every point of a request's life, at in-flight depth 0 and 1.

namespace quire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class EngineCancelTest : public ::testing::TestWithParam<int> {
 protected:
  // Prompts take 5 chunks of 8 tokens.
  static EngineHarness::Options Options() {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    options.engine.max_running_requests = 2;
    options.engine.max_step_tokens = 8;
    return options;
  }
  static std::vector<TokenId> Prompt(TokenId first) {
    std::vector<TokenId> prompt(40);
    for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = first + static_cast<TokenId>(i);
    return prompt;
  }
};

TEST_P(EngineCancelTest, AfterAnyNumberOfStepsItEndsInTheNextAndHarmsNobody) {
  for (int steps = 0; steps < 20; ++steps) {
    SCOPED_TRACE(::testing::Message() << "cancelled after " << steps << " steps");
    EngineHarness h(Options());
    Request victim = h.MakeRequest(Prompt(100), 30), other = h.MakeRequest(Prompt(500), 12);
    const RequestId victim_id = victim.id, other_id = other.id;
    ASSERT_TRUE(h.engine.Submit(std::move(victim)).ok());
    ASSERT_TRUE(h.engine.Submit(std::move(other)).ok());
    for (int i = 0; i < steps; ++i) h.engine.Step();
    h.engine.Cancel(victim_id);
    h.engine.Step();
    const auto& record = h.sink.of(victim_id);
    ASSERT_EQ(record.terminals, 1);
    EXPECT_EQ(record.finish->reason, FinishReason::kCancelled);
    EXPECT_EQ(record.finish->generated_tokens, static_cast<int32_t>(record.tokens.size()));
    const auto tokens = static_cast<int32_t>(record.tokens.size());
    EXPECT_EQ(record.tokens, h.Expected(Prompt(100), tokens));
    EXPECT_EQ(h.kv.Snapshot().classes[0].fenced_blocks, 0) << "one step later its KV is free";
    EXPECT_THAT(h.kv.CheckInvariants(), IsEmpty());
    ASSERT_TRUE(h.RunUntilIdle());
    EXPECT_EQ(h.sink.of(victim_id).events_after_terminal, 0);
    EXPECT_EQ(h.sink.of(other_id).tokens, h.Expected(Prompt(500), 12));
    EXPECT_THAT(h.runner.violations(), IsEmpty());
    EXPECT_EQ(h.kv.Snapshot().classes[0].free_blocks, h.kv.Snapshot().classes[0].total_blocks);
  }
}

TEST_P(EngineCancelTest, WhileWaitingItLeavesTheQueueAndHoldsNoKv) {
  EngineHarness::Options options = Options();
  options.engine.max_running_requests = 1;
  options.engine.max_queued_requests = 1;
  EngineHarness h(options);
  ASSERT_TRUE(h.engine.Submit(h.MakeRequest(Prompt(0), 30)).ok());
  h.engine.Step();
  for (int round = 0; round < 3; ++round) {
    Request waiting = h.MakeRequest(Prompt(100), 5);
    const RequestId id = waiting.id;
    ASSERT_TRUE(h.engine.Submit(std::move(waiting)).ok()) << "the queue has room again";
    EXPECT_FALSE(h.engine.Submit(h.MakeRequest({1}, 1)).ok());
    h.engine.Step();
    const int64_t headroom = h.kv.Budget().FreeSlabs();
    h.engine.Cancel(id);
    h.engine.Step();
    EXPECT_EQ(h.sink.of(id).finish->reason, FinishReason::kCancelled);
    EXPECT_EQ(h.kv.Budget().FreeSlabs(), headroom);
    EXPECT_EQ(h.engine.Stats().waiting, 0);
    EXPECT_EQ(h.engine.Stats().waiting_tokens, 0);
  }
}

TEST_P(EngineCancelTest, InTheSameBatchAsItsSubmitIsEnough) {
  EngineHarness h(Options());
  Request request = h.MakeRequest({1}, 5);
  const RequestId id = request.id;
  ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
  h.engine.Cancel(id);
  EXPECT_FALSE(h.engine.Step()) << "nothing is left to run";
  EXPECT_EQ(h.sink.of(id).finish->reason, FinishReason::kCancelled);
  EXPECT_THAT(h.sink.of(id).tokens, IsEmpty());
  EXPECT_EQ(h.engine.Stats().running, 0);
}

TEST_P(EngineCancelTest, UnknownEndedAndRepeatedIdsChangeNothing) {
  EngineHarness h(Options());
  h.engine.Cancel(RequestId(999));
  EXPECT_FALSE(h.engine.Step());
  EXPECT_EQ(h.sink.terminals(), 0u);
  Request first = h.MakeRequest({1}, 2), second = h.MakeRequest({2}, 50);
  const RequestId ended = first.id, cancelled = second.id;
  ASSERT_TRUE(h.engine.Submit(std::move(first)).ok());
  ASSERT_TRUE(h.engine.Submit(std::move(second)).ok());
  for (int i = 0; i < 5; ++i) h.engine.Step();
  h.engine.Cancel(ended);
  h.engine.Cancel(cancelled);
  h.engine.Cancel(cancelled);
  ASSERT_TRUE(h.RunUntilIdle());
  h.engine.Cancel(cancelled);
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.of(ended).finish->reason, FinishReason::kLength);
  EXPECT_EQ(h.sink.of(cancelled).finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(h.sink.terminals(), 2u);
  EXPECT_EQ(h.sink.of(ended).events_after_terminal, 0);
  EXPECT_EQ(h.sink.of(cancelled).events_after_terminal, 0);
}

TEST_P(EngineCancelTest, ItIsInNoStepLaunchedAfterwards) {
  EndlessRunner runner(GetParam());
  std::vector<int32_t> sequences;
  runner.on_launch = [&sequences](const BatchInput& input) {
    sequences.push_back(input.counts.sequences);
    return absl::OkStatus();
  };
  BareEngine e(&runner);
  const RequestId victim = e.Submit(e.MakeRequest({1}, 100));
  e.Submit(e.MakeRequest({2}, 100));
  e.engine.Step();
  e.engine.Step();
  e.engine.Cancel(victim);
  e.engine.Step();
  EXPECT_THAT(sequences, ElementsAre(2, 2, 1));
  e.engine.AbortAll();
  e.RunUntilIdle();
}

TEST_P(EngineCancelTest, TheRowOnItsWayIsDiscardedAndCounted) {
  EngineHarness h(Options());
  Request request = h.MakeRequest({1}, 50);
  const RequestId id = request.id;
  ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
  for (int i = 0; i < 5; ++i) h.engine.Step();
  h.engine.Cancel(id);
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.engine.Stats().discarded_tokens, static_cast<uint64_t>(GetParam()));
  EXPECT_EQ(h.engine.Stats().generated_tokens, h.sink.of(id).tokens.size());
}

TEST_P(EngineCancelTest, WorksWhileDraining) {
  EngineHarness h(Options());
  Request request = h.MakeRequest({1}, 50);
  const RequestId id = request.id;
  ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
  h.engine.Step();
  h.engine.StopAccepting();
  h.engine.Cancel(id);
  h.engine.Step();
  EXPECT_EQ(h.sink.of(id).finish->reason, FinishReason::kCancelled);
}

// It has left the queue's places when it started.
TEST_P(EngineCancelTest, WhoWaitsAfterAPreemptionHoldsAPlaceInTheQueueAndGivesItBackOnce) {
  EngineHarness::Options options = Options();
  options.engine.max_step_tokens = 64;
  options.engine.overcommit = true;
  options.engine.max_queued_requests = 1;
  options.kv_slabs = 8;
  EngineHarness h(options);
  std::vector<RequestId> ids;
  for (TokenId first : {100, 500}) {
    Request request = h.MakeRequest(Prompt(first), 60);
    ids.push_back(request.id);
    ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
    h.engine.Step();
  }
  for (int step = 0; h.engine.Tenants()[0].load.preempted == 0; ++step) {
    ASSERT_LT(step, 100);
    h.engine.Step();
  }
  EXPECT_EQ(h.engine.Submit(h.MakeRequest(Prompt(200), 5)).code(),
            absl::StatusCode::kResourceExhausted);
  h.engine.Cancel(ids[1]);
  h.engine.Step();
  EXPECT_EQ(h.sink.of(ids[1]).finish->reason, FinishReason::kCancelled);
  EXPECT_TRUE(h.engine.Submit(h.MakeRequest(Prompt(200), 5)).ok());
  EXPECT_EQ(h.engine.Submit(h.MakeRequest(Prompt(300), 5)).code(),
            absl::StatusCode::kResourceExhausted);
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineCancelTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

}  // namespace
}  // namespace quire::testing
