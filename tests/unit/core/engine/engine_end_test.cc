#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"

// How requests end: each reason with its status, its counts and its times, at in-flight depth 0
// and 1.

namespace quire::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EngineEndTest : public ::testing::TestWithParam<int> {
 protected:
  static EngineHarness::Options Options() {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    return options;
  }

  static RequestId Submit(EngineHarness* h, Request request) {
    const RequestId id = request.id;
    const absl::Status status = h->engine.Submit(std::move(request));
    EXPECT_TRUE(status.ok()) << status;
    return id;
  }

  static void ExpectClean(EngineHarness* h) {
    EXPECT_THAT(h->runner.violations(), IsEmpty());
    EXPECT_THAT(h->kv.CheckInvariants(), IsEmpty());
    EXPECT_EQ(h->kv.Snapshot().classes[0].free_blocks, h->kv.Snapshot().classes[0].total_blocks);
    EXPECT_EQ(h->kv.Budget().FreeSlabs(), h->kv.Snapshot().classes[0].total_blocks);
    EXPECT_EQ(h->engine.live_requests(), 0);
  }
};

TEST_P(EngineEndTest, LengthEndsOkWithAllTokens) {
  EngineHarness h(Options());
  const RequestId id = Submit(&h, h.MakeRequest({5, 6, 7}, 9));
  ASSERT_TRUE(h.RunUntilIdle());
  const auto& record = h.sink.of(id);
  ASSERT_EQ(record.terminals, 1);
  EXPECT_EQ(record.finish->reason, FinishReason::kLength);
  EXPECT_TRUE(record.finish->status.ok());
  EXPECT_EQ(record.tokens, h.Expected({5, 6, 7}, 9));
  EXPECT_EQ(record.finish->prompt_tokens, 3);
  EXPECT_EQ(record.finish->generated_tokens, 9);
  EXPECT_EQ(record.finish->trim_bytes, 0u);
  ExpectClean(&h);
}

TEST_P(EngineEndTest, ARequestIsLiveUntilItsEndIsDelivered) {
  int64_t live = 0;
  EngineHarness h(Options());
  h.sink.on_deliver = [&] { live = h.engine.live_requests(); };
  Submit(&h, h.MakeRequest({5}, 1));
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(live, 1);
  EXPECT_EQ(h.engine.live_requests(), 0);
}

TEST_P(EngineEndTest, ASingleTokenIsAWholeAnswer) {
  EngineHarness h(Options());
  const RequestId id = Submit(&h, h.MakeRequest({5}, 1));
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.of(id).tokens, h.Expected({5}, 1));
  EXPECT_EQ(h.sink.of(id).finish->reason, FinishReason::kLength);
  EXPECT_EQ(h.engine.Stats().discarded_tokens, 0u) << "length stops are planned exactly";
  ExpectClean(&h);
}

TEST_P(EngineEndTest, CancelledEndsWithItsStatus) {
  EngineHarness h(Options());
  const RequestId id = Submit(&h, h.MakeRequest({5}, 100));
  h.engine.Cancel(id);
  ASSERT_TRUE(h.RunUntilIdle());
  const auto& record = h.sink.of(id);
  ASSERT_EQ(record.terminals, 1);
  EXPECT_EQ(record.finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(record.finish->status.code(), absl::StatusCode::kCancelled);
  ExpectClean(&h);
}

TEST_P(EngineEndTest, ARowThatIsNotFiniteFailsAloneAndInternal) {
  EngineHarness::Options options = Options();
  options.model.nan_period = 40;
  EngineHarness h(options);
  std::vector<std::pair<RequestId, TokenId>> requests;
  requests.reserve(30);
  for (TokenId first = 0; first < 30; ++first) {
    requests.emplace_back(Submit(&h, h.MakeRequest({first}, 20)), first);
  }
  ASSERT_TRUE(h.RunUntilIdle());
  int failed = 0;
  for (const auto& [id, first] : requests) {
    const auto& record = h.sink.of(id);
    const std::vector<TokenId> expected = h.Expected({first}, 20);
    ASSERT_EQ(record.terminals, 1);
    EXPECT_EQ(record.tokens, expected);
    const bool fails = expected.size() < 20;
    failed += fails ? 1 : 0;
    EXPECT_EQ(record.finish->reason, fails ? FinishReason::kError : FinishReason::kLength);
    EXPECT_EQ(record.finish->status.code(),
              fails ? absl::StatusCode::kInternal : absl::StatusCode::kOk);
  }
  EXPECT_GT(failed, 3);
  EXPECT_LT(failed, 27);
  EXPECT_FALSE(h.engine.failed());
  ExpectClean(&h);
}

TEST_P(EngineEndTest, AbortAllEndsTheWaitingAndTheRunning) {
  EngineHarness::Options options = Options();
  options.engine.max_running_requests = 1;
  EngineHarness h(options);
  const RequestId running = Submit(&h, h.MakeRequest({5}, 100));
  const RequestId waiting = Submit(&h, h.MakeRequest({6}, 100));
  for (int i = 0; i < 4; ++i) h.engine.Step();
  h.engine.AbortAll();
  ASSERT_TRUE(h.RunUntilIdle());
  for (RequestId id : {running, waiting}) {
    const auto& record = h.sink.of(id);
    ASSERT_EQ(record.terminals, 1);
    EXPECT_EQ(record.events_after_terminal, 0);
    EXPECT_EQ(record.finish->reason, FinishReason::kShutdown);
    EXPECT_EQ(record.finish->status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_THAT(h.sink.of(running).tokens, SizeIs(4 - GetParam()));
  EXPECT_THAT(h.sink.of(waiting).tokens, IsEmpty());
  ExpectClean(&h);
}

TEST_P(EngineEndTest, AfterAnAbortNewRequestsAreServed) {
  EngineHarness h(Options());
  Submit(&h, h.MakeRequest({5}, 100));
  h.engine.AbortAll();
  ASSERT_TRUE(h.RunUntilIdle());
  const RequestId id = Submit(&h, h.MakeRequest({6}, 3));
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.of(id).tokens, h.Expected({6}, 3));
}

TEST_P(EngineEndTest, TheFinishTellsWhereTheTimeWent) {
  EngineHarness::Options options = Options();
  options.engine.max_running_requests = 1;
  EngineHarness h(options);
  Submit(&h, h.MakeRequest({5}, 4));
  const RequestId second = Submit(&h, h.MakeRequest({6}, 2));
  const RequestId third = Submit(&h, h.MakeRequest({7}, 2));
  int steps = 0;
  for (; h.engine.scheduler().num_waiting() != 1 || steps == 0; ++steps) {
    h.clock.Advance(milliseconds(10));
    h.engine.Step();
  }
  const Duration queued = milliseconds(10) * steps;  // the second started in the last step
  h.clock.Advance(milliseconds(10));
  h.engine.Cancel(third);
  h.engine.Step();
  EXPECT_EQ(h.sink.of(third).finish->queue_time, queued + milliseconds(10));
  EXPECT_EQ(h.sink.of(third).finish->time_to_first_token, Duration::zero()) << "there was none";
  h.RunUntilIdle();
  EXPECT_EQ(h.sink.of(second).finish->queue_time, queued);
  EXPECT_EQ(h.sink.of(second).finish->time_to_first_token, queued + GetParam() * milliseconds(10));
}

TEST_P(EngineEndTest, AnEngineWithLiveRequestsMustNotDie) {
  EXPECT_DEATH(
      {
        FakeModelRunner runner({});
        RecordingSink sink;
        ManualClock clock;
        SlabArena arena(1 << 20, EngineHarness::Layout(16).BlockBytes());
        KvCacheManager kv({EngineHarness::Layout(16)}, &arena, 1);
        Engine engine(
            Options().engine,
            {.runner = &runner, .kv = &kv, .sink = &sink, .clock = &clock, .stop_rules = {}});
        Request request;
        request.prompt = {1};
        request.sampling.max_tokens = 1;
        (void)engine.Submit(std::move(request));
      },
      "requests are live");
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineEndTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

}  // namespace
}  // namespace quire::testing
