#include "core/engine/engine_loop.h"

#include <atomic>
#include <future>
#include <map>
#include <numeric>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// The engine on its own thread, with callers on others.

namespace quire::testing {
namespace {

using ::testing::IsEmpty;

constexpr Duration kHour = std::chrono::hours(1);

// Counts how often the engine looks at the time, which every step does.
class CountingClock final : public Clock {
 public:
  TimePoint Now() const override {
    reads_.fetch_add(1);
    return TimePoint(std::chrono::hours(1));
  }
  int64_t reads() const { return reads_.load(); }

 private:
  mutable std::atomic<int64_t> reads_{0};
};

TEST(EngineLoopTest, EveryMessageWakesAnIdleEngine) {
  EndlessRunner runner;
  BareEngine e(&runner);
  EngineLoop loop(&e.engine, nullptr);
  for (size_t i = 1; i <= 500; ++i) {
    e.Submit(e.MakeRequest({1}, 2));
    e.log.WaitForTerminals(i);
    if (i % 3 == 0) e.engine.Cancel(RequestId(i));
    if (i % 7 == 0) e.engine.Wake();
  }
  EXPECT_EQ(e.log.of(RequestId(500)).finish->reason, FinishReason::kLength);
}

TEST(EngineLoopTest, AnIdleEngineSleeps) {
  EndlessRunner runner;
  CountingClock clock;
  BareEngine e(&runner, BareEngine::DefaultOptions(), BareEngine::DefaultRules(), 64, &clock);
  EngineLoop loop(&e.engine, nullptr);
  e.Submit(e.MakeRequest({1}, 2));
  e.log.WaitForTerminals(1);
  const int64_t before = clock.reads();
  // Work of another engine, to give this one the time to do what it must not.
  EndlessRunner other_runner;
  BareEngine other(&other_runner);
  for (int i = 0; i < 50; ++i) {
    other.Submit(other.MakeRequest({1}, 400));
    other.RunUntilIdle();
    std::this_thread::yield();
  }
  EXPECT_LE(clock.reads() - before, 20) << "the end of one step and one that finds nothing";
}

TEST(EngineLoopTest, ARestingEngineWakesToGiveAPausedRequestsPlaceToAnother) {
  EndlessRunner runner;
  EngineOptions options = BareEngine::DefaultOptions();
  options.max_running_requests = 1;
  options.pause_grace = std::chrono::milliseconds(20);
  const SteadyClock clock;
  BareEngine e(&runner, options, BareEngine::DefaultRules(), 64, &clock);
  const RequestId paused = e.Submit(e.MakeRequest({1}, 100));
  e.engine.SetPaused(paused, true);
  EngineLoop loop(&e.engine, nullptr);
  const RequestId other = e.Submit(e.MakeRequest({1}, 2));
  e.log.WaitForTerminals(1);
  EXPECT_EQ(e.log.of(other).finish->reason, FinishReason::kLength);
}

class EngineLoopLoadTest : public ::testing::TestWithParam<int> {
 protected:
  static constexpr int kThreads = 4, kRequestsPerThread = 60;

  struct Submitted {
    RequestId id;
    TokenId first = 0;
    int32_t max_tokens = 0;
  };

  // Submits requests and cancels some of them, its own and others'.
  std::vector<Submitted> Call(BareEngine* e, uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::vector<Submitted> accepted;
    for (int i = 0; i < kRequestsPerThread; ++i) {
      const Submitted s{RequestId(), static_cast<TokenId>(rng() % 1000),
                        static_cast<int32_t>(1 + rng() % 20)};
      Request request = e->MakeRequest({s.first, 5}, s.max_tokens);
      accepted.push_back(s);
      accepted.back().id = request.id;
      if (!e->engine.Submit(std::move(request)).ok()) accepted.pop_back();
      if (rng() % 4 == 0) e->engine.Cancel(RequestId(1 + rng() % 200));
      if (rng() % 16 == 0) std::this_thread::yield();
    }
    return accepted;
  }

  void CheckAnswer(const BareEngine& e, const FakeModelRunner::Options& model,
                   const Submitted& submitted) {
    const EventLog::Record record = e.log.of(submitted.id);
    ASSERT_EQ(record.terminals, 1) << "request " << submitted.id.value();
    ASSERT_EQ(record.events_after_terminal, 0);
    std::vector<TokenId> prefix = {submitted.first, 5};
    for (TokenId token : record.tokens) {
      ASSERT_EQ(token, ExpectedToken(model, prefix, 2, {}));
      prefix.push_back(token);
    }
    if (record.finish->reason == FinishReason::kLength) {
      EXPECT_EQ(record.tokens.size(), static_cast<size_t>(submitted.max_tokens));
    } else {
      EXPECT_EQ(record.finish->reason, FinishReason::kCancelled);
    }
  }
};

TEST_P(EngineLoopLoadTest, EveryRequestOfManyThreadsEndsOnceAndRight) {
  const FakeModelRunner::Options model{.depth = GetParam()};
  FakeModelRunner runner(model);
  EngineOptions options = BareEngine::DefaultOptions();
  options.max_queued_requests = 30;  // some are refused
  BareEngine e(&runner, options, BareEngine::DefaultRules(), 20);
  std::vector<Submitted> accepted[kThreads];
  EngineLoop loop(&e.engine, nullptr);
  std::vector<std::thread> callers;
  for (int t = 0; t < kThreads; ++t) {
    callers.emplace_back([&, t] { accepted[t] = Call(&e, static_cast<uint64_t>(t) + 1); });
  }
  // A scrape meanwhile sees counters that agree with each other.
  for (int i = 0; i < 200; ++i) {
    const EngineStats stats = e.engine.Stats();
    const uint64_t ended = std::accumulate(stats.finished.begin(), stats.finished.end(), 0u);
    EXPECT_EQ(stats.accepted, static_cast<uint64_t>(stats.waiting + stats.running) + ended);
  }
  for (std::thread& caller : callers) caller.join();
  loop.Drain(kHour);
  size_t total = 0;
  for (const auto& requests : accepted) {
    total += requests.size();
    for (const Submitted& submitted : requests) CheckAnswer(e, model, submitted);
  }
  EXPECT_EQ(e.log.terminals(), total);
  EXPECT_EQ(e.engine.Stats().accepted, total);
  EXPECT_EQ(e.engine.live_requests(), 0);
  EXPECT_THAT(runner.violations(), IsEmpty());
  EXPECT_THAT(e.kv.CheckInvariants(), IsEmpty());
  EXPECT_EQ(e.kv.Snapshot().classes[0].free_blocks, e.kv.Snapshot().classes[0].total_blocks);
}

TEST_P(EngineLoopLoadTest, ADrainUnderFireLosesNoAcceptedRequest) {
  for (Duration grace : {Duration::zero(), Duration(kHour)}) {
    EndlessRunner runner(GetParam());
    BareEngine e(&runner);
    std::vector<Submitted> accepted[kThreads];
    EngineLoop loop(&e.engine, nullptr);
    std::vector<std::thread> callers;
    for (int t = 0; t < kThreads; ++t) {
      callers.emplace_back([&, t] { accepted[t] = Call(&e, static_cast<uint64_t>(t) + 1); });
    }
    e.log.WaitForTerminals(10);
    loop.Drain(grace);
    const size_t ended = e.log.terminals();
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(e.log.terminals(), ended) << "nothing ends after the drain";
    size_t total = 0;
    for (const auto& requests : accepted) total += requests.size();
    EXPECT_EQ(ended, total);
  }
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineLoopLoadTest, ::testing::Values(0, 1),
                         [](const auto& p) { return "Depth" + std::to_string(p.param); });

TEST(EngineLoopFailureTest, ADeviceFailureIsReportedOnceAndTheLoopStaysUsable) {
  FakeModelRunner runner({.fail_launch = 5});
  BareEngine e(&runner);
  std::atomic<int> reports{0};
  std::atomic<int> ended_before_the_report{0};
  std::promise<void> reported;
  for (TokenId t : {1, 2, 3}) e.Submit(e.MakeRequest({t}, 100));
  EngineLoop loop(&e.engine, [&] {
    ended_before_the_report = static_cast<int>(e.log.terminals());
    if (reports.fetch_add(1) == 0) reported.set_value();
  });
  reported.get_future().wait();
  EXPECT_EQ(ended_before_the_report, 3);
  for (uint64_t id = 1; id < 10; ++id) e.engine.Cancel(RequestId(id));
  EXPECT_EQ(e.engine.Submit(e.MakeRequest({1}, 1)).code(), absl::StatusCode::kUnavailable);
  loop.Drain(kHour);
  EXPECT_EQ(reports, 1);
}

TEST(EngineLoopFailureTest, NobodyNeedsToListen) {
  FakeModelRunner runner({.fail_complete = 0});
  BareEngine e(&runner);
  EngineLoop loop(&e.engine, nullptr);
  const RequestId id = e.Submit(e.MakeRequest({1}, 5));
  e.log.WaitForTerminals(1);
  EXPECT_EQ(e.log.of(id).finish->reason, FinishReason::kError);
}

}  // namespace
}  // namespace quire::testing
