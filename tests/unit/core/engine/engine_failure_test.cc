#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// The device fails at a launch or at a completion, at in-flight depth 0 and 1.

namespace quire::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Failure {
  int depth;
  bool at_launch;
  int64_t nth;
};

class EngineFailureTest : public ::testing::TestWithParam<Failure> {
 protected:
  static EngineHarness::Options Options() {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam().depth;
    options.engine.max_running_requests = 2;
    (GetParam().at_launch ? options.model.fail_launch : options.model.fail_complete) =
        GetParam().nth;
    return options;
  }
};

TEST_P(EngineFailureTest, EndsEveryLiveRequestAndRefusesNewOnes) {
  EngineHarness h(Options());
  std::vector<RequestId> ids;
  for (TokenId first : {1, 2, 3, 4}) {  // two run, two wait
    Request request = h.MakeRequest({first}, 50);
    ids.push_back(request.id);
    ASSERT_TRUE(h.engine.Submit(std::move(request)).ok());
  }
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_TRUE(h.engine.failed());
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto& record = h.sink.of(ids[i]);
    ASSERT_EQ(record.terminals, 1);
    EXPECT_EQ(record.events_after_terminal, 0);
    EXPECT_EQ(record.finish->reason, FinishReason::kError);
    EXPECT_EQ(record.finish->status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(record.finish->status.message()), HasSubstr("planted"));
    const auto tokens = static_cast<int32_t>(record.tokens.size());
    EXPECT_EQ(record.tokens, h.Expected({static_cast<TokenId>(i + 1)}, tokens));
  }
  const absl::Status refused = h.engine.Submit(h.MakeRequest({1}, 1));
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("device has failed"));
}

TEST_P(EngineFailureTest, LeavesNothingBehindAndRunsNothingMore) {
  EngineHarness h(Options());
  ASSERT_TRUE(h.engine.Submit(h.MakeRequest({1}, 50)).ok());
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.engine.live_requests(), 0);
  EXPECT_EQ(h.engine.steps_in_flight(), 0u);
  EXPECT_EQ(h.kv.Snapshot().classes[0].free_blocks, h.kv.Snapshot().classes[0].total_blocks);
  EXPECT_THAT(h.kv.CheckInvariants(), IsEmpty());
  EXPECT_FALSE(h.engine.Step());
  const EngineStats stats = h.engine.Stats();
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_EQ(stats.finished[static_cast<size_t>(FinishReason::kError)], 1u);
}

INSTANTIATE_TEST_SUITE_P(Points, EngineFailureTest,
                         ::testing::Values(Failure{0, true, 0}, Failure{0, true, 3},
                                           Failure{1, true, 0}, Failure{1, true, 1},
                                           Failure{1, true, 4}, Failure{0, false, 0},
                                           Failure{0, false, 3}, Failure{1, false, 0},
                                           Failure{1, false, 3}),
                         [](const auto& p) {
                           return std::string(p.param.at_launch ? "Launch" : "Complete") +
                                  std::to_string(p.param.nth) + "Depth" +
                                  std::to_string(p.param.depth);
                         });

TEST(EngineFailureCrossingTest, ASubmitThatCrossesTheFailureIsEndedToo) {
  EndlessRunner runner;
  BareEngine e(&runner);
  RequestId crossing;
  runner.on_launch = [&](const BatchInput&) {
    crossing = e.Submit(e.MakeRequest({2}, 5));
    return absl::DataLossError("gone");
  };
  const RequestId first = e.Submit(e.MakeRequest({1}, 5));
  e.engine.Step();
  EXPECT_EQ(e.log.of(first).terminals, 1);
  EXPECT_EQ(e.engine.live_requests(), 1) << "accepted before the engine knew";
  EXPECT_FALSE(e.engine.Step());
  ASSERT_EQ(e.log.of(crossing).terminals, 1);
  EXPECT_EQ(e.log.of(crossing).finish->reason, FinishReason::kError);
  EXPECT_EQ(e.log.of(crossing).finish->status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(e.engine.live_requests(), 0);
}

}  // namespace
}  // namespace quire::testing
