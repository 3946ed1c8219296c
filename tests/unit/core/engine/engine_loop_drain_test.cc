#include <atomic>
#include <thread>

#include "core/engine/engine_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// Draining on the real engine thread. Nothing here waits for time to pass: a request that is to be
// cut off has so many tokens to go that it cannot end by itself, and a grace that must not run out
// is an hour.

namespace quire::testing {
namespace {

constexpr int32_t kEndless = 4000000;
constexpr Duration kHour = std::chrono::hours(1);

class EngineLoopDrainTest : public ::testing::TestWithParam<int> {
 protected:
  EngineLoopDrainTest() : runner_(GetParam()), e_(&runner_, Options(), Rules(), 1 << 20) {}

  static EngineOptions Options() {
    EngineOptions options = BareEngine::DefaultOptions();
    options.max_context_tokens = kEndless + 10;
    options.max_running_requests = 3;
    return options;
  }
  static StopRules Rules() { return BareEngine::DefaultRules(); }

  void ExpectAll(const std::vector<RequestId>& ids, FinishReason reason) {
    EXPECT_EQ(e_.engine.live_requests(), 0);
    for (RequestId id : ids) {
      const EventLog::Record record = e_.log.of(id);
      ASSERT_EQ(record.terminals, 1);
      EXPECT_EQ(record.events_after_terminal, 0);
      EXPECT_EQ(record.finish->reason, reason);
    }
  }
  std::vector<RequestId> SubmitMany(int count, int32_t max_tokens) {
    std::vector<RequestId> ids;
    for (int i = 0; i < count; ++i) ids.push_back(e_.Submit(e_.MakeRequest({1, 2}, max_tokens)));
    return ids;
  }

  EndlessRunner runner_;
  BareEngine e_;
};

TEST_P(EngineLoopDrainTest, WithTimeTheRunningAndTheWaitingFinish) {
  EngineLoop loop(&e_.engine, nullptr);
  const std::vector<RequestId> ids = SubmitMany(8, 50);
  loop.Drain(kHour);
  ExpectAll(ids, FinishReason::kLength);
}

TEST_P(EngineLoopDrainTest, WithoutGraceTheRestIsEnded) {
  EngineLoop loop(&e_.engine, nullptr);
  const std::vector<RequestId> ids = SubmitMany(5, kEndless);
  loop.Drain(Duration::zero());
  ExpectAll(ids, FinishReason::kShutdown);
  EXPECT_EQ(e_.log.of(ids[4]).finish->status.code(), absl::StatusCode::kUnavailable);
}

TEST_P(EngineLoopDrainTest, ARequestThatArrivedAMomentBeforeIsNotOverlooked) {
  for (int round = 0; round < 40; ++round) {
    EndlessRunner runner(GetParam());
    BareEngine e(&runner, Options(), Rules(), 1 << 18);
    EngineLoop loop(&e.engine, nullptr);
    e.Submit(e.MakeRequest({1}, 1));
    e.log.WaitForTerminals(1);
    while (e.engine.live_requests() > 0) std::this_thread::yield();
    for (int i = 0; i < round; ++i) std::this_thread::yield();  // let it fall asleep, mostly
    const RequestId late = e.Submit(e.MakeRequest({1}, kEndless));
    loop.Drain(Duration::zero());
    ASSERT_EQ(e.log.of(late).terminals, 1) << "round " << round;
  }
}

TEST_P(EngineLoopDrainTest, AnIdleEngineDrainsAtOnceWhateverTheGrace) {
  EngineLoop never_used(&e_.engine, nullptr);
  never_used.Drain(kHour);
  EndlessRunner runner(GetParam());
  BareEngine used(&runner);
  EngineLoop loop(&used.engine, nullptr);
  used.Submit(used.MakeRequest({1}, 3));
  used.log.WaitForTerminals(1);
  loop.Drain(kHour);
  EXPECT_EQ(used.engine.live_requests(), 0);
}

TEST_P(EngineLoopDrainTest, GraceCanBeCutShortBeforeAndWhileItRuns) {
  for (bool before : {true, false}) {
    EndlessRunner runner(GetParam());
    BareEngine e(&runner, Options(), Rules(), 1 << 18);
    EngineLoop loop(&e.engine, nullptr);
    const RequestId id = e.Submit(e.MakeRequest({1}, kEndless));
    if (before) loop.EndGrace();
    std::thread drainer([&loop] { loop.Drain(kHour); });
    if (!before) {
      while (!absl::IsUnavailable(e.engine.Submit(e.MakeRequest({1}, 1)))) {
        std::this_thread::yield();
      }
      loop.EndGrace();  // new requests are refused: the drain is under way
    }
    drainer.join();
    EXPECT_EQ(e.log.of(id).finish->reason, FinishReason::kShutdown);
  }
}

TEST_P(EngineLoopDrainTest, NothingIsAcceptedOnceADrainHasBegun) {
  EngineLoop loop(&e_.engine, nullptr);
  loop.Drain(Duration::zero());
  EXPECT_EQ(e_.engine.Submit(e_.MakeRequest({1}, 1)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(e_.engine.live_requests(), 0);
}

TEST_P(EngineLoopDrainTest, CallersThatAreRefusedDoNotKeepItWaiting) {
  for (int round = 0; round < 10; ++round) {
    EndlessRunner runner(GetParam());
    BareEngine e(&runner);
    EngineLoop loop(&e.engine, nullptr);
    std::atomic<bool> drained{false};
    std::vector<std::thread> callers;
    for (int t = 0; t < 2; ++t) {
      callers.emplace_back([&] {
        while (!drained) (void)e.engine.Submit(e.MakeRequest({1}, 1));
      });
    }
    e.log.WaitForTerminals(10);
    loop.Drain(kHour);
    drained = true;
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(e.engine.live_requests(), 0);
  }
}

TEST_P(EngineLoopDrainTest, EveryDrainReturnsAfterTheEngineHasStopped) {
  EngineLoop loop(&e_.engine, nullptr);
  const std::vector<RequestId> ids = SubmitMany(5, 200);
  std::vector<std::thread> drainers;
  for (int i = 0; i < 4; ++i) {
    drainers.emplace_back([&] {
      loop.Drain(kHour);
      EXPECT_EQ(e_.log.terminals(), ids.size());
    });
  }
  for (std::thread& drainer : drainers) drainer.join();
  loop.Drain(kHour);
  ExpectAll(ids, FinishReason::kLength);
}

TEST_P(EngineLoopDrainTest, TheDestructorEndsWhatIsLeft) {
  std::vector<RequestId> ids;
  {
    EngineLoop loop(&e_.engine, nullptr);
    ids = SubmitMany(5, kEndless);
  }
  ExpectAll(ids, FinishReason::kShutdown);
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineLoopDrainTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

}  // namespace
}  // namespace quire::testing
