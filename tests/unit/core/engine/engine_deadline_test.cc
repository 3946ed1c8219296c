#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"

namespace quire::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EngineDeadlineTest : public ::testing::TestWithParam<int> {
 protected:
  static EngineHarness::Options Options(int32_t max_running) {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam();
    options.engine.max_running_requests = max_running;
    return options;
  }
  static RequestId Submit(EngineHarness* h, int32_t max_tokens, Duration time_left) {
    Request request = h->MakeRequest({1, 2, 3}, max_tokens);
    request.deadline = h->clock.Now() + time_left;
    const RequestId id = request.id;
    EXPECT_TRUE(h->engine.Submit(std::move(request)).ok());
    return id;
  }
  static void StepAfter(EngineHarness* h, Duration time) {
    h->clock.Advance(time);
    h->engine.Step();
  }
  static void ExpectExpired(EngineHarness* h, RequestId id) {
    const auto& record = h->sink.of(id);
    ASSERT_EQ(record.terminals, 1);
    EXPECT_EQ(record.finish->reason, FinishReason::kDeadline);
    EXPECT_EQ(record.finish->status.code(), absl::StatusCode::kDeadlineExceeded);
  }
};

TEST_P(EngineDeadlineTest, EndsARunningRequestAtItsDeadlineAndNotBefore) {
  EngineHarness h(Options(4));
  const RequestId id = Submit(&h, 100, milliseconds(50));
  for (int i = 0; i < 4; ++i) StepAfter(&h, milliseconds(10));
  EXPECT_EQ(h.sink.of(id).terminals, 0);
  EXPECT_THAT(h.sink.of(id).tokens, SizeIs(4 - GetParam()));
  StepAfter(&h, milliseconds(10));
  ExpectExpired(&h, id);
  EXPECT_EQ(h.sink.of(id).tokens, h.Expected({1, 2, 3}, 4 - GetParam()))
      << "what it had is delivered";
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.of(id).events_after_terminal, 0);
  EXPECT_EQ(h.kv.Snapshot().classes[0].free_blocks, h.kv.Snapshot().classes[0].total_blocks);
}

TEST_P(EngineDeadlineTest, EndsAWaitingRequestThatNeverRan) {
  EngineHarness h(Options(1));
  const RequestId running = Submit(&h, 100, std::chrono::hours(1));
  const RequestId waiting = Submit(&h, 5, milliseconds(30));
  StepAfter(&h, milliseconds(29));
  EXPECT_EQ(h.sink.of(waiting).terminals, 0);
  StepAfter(&h, milliseconds(1));
  ExpectExpired(&h, waiting);
  EXPECT_THAT(h.sink.of(waiting).tokens, IsEmpty());
  EXPECT_EQ(h.sink.of(waiting).finish->queue_time, milliseconds(30));
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.of(running).tokens, h.Expected({1, 2, 3}, 100));
}

TEST_P(EngineDeadlineTest, OneThatHasPassedOnArrivalRunsNoStep) {
  EngineHarness h(Options(4));
  const RequestId id = Submit(&h, 5, Duration::zero());
  EXPECT_FALSE(h.engine.Step());
  ExpectExpired(&h, id);
  EXPECT_EQ(h.engine.Stats().Steps(StepKind::kPrefill), 0u);
}

TEST_P(EngineDeadlineTest, DoesNotTouchRequestsWithTimeLeft) {
  EngineHarness h(Options(4));
  const RequestId early = Submit(&h, 50, milliseconds(5));
  const RequestId late = Submit(&h, 50, milliseconds(500));
  ASSERT_TRUE(h.RunUntilIdle());
  ExpectExpired(&h, early);
  EXPECT_EQ(h.sink.of(late).finish->reason, FinishReason::kLength);
  EXPECT_EQ(h.sink.of(late).tokens, h.Expected({1, 2, 3}, 50));
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineDeadlineTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

}  // namespace
}  // namespace quire::testing
