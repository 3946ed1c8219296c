#include "server/liveness/liveness_monitor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <vector>

#include "core/engine/engine_loop.h"
#include "tests/unit/core/engine/bare_engine.h"
#include "tests/unit/core/engine/endless_runner.h"

// An engine whose thread really hangs in its model, and the monitor that looks at it.

namespace quire::server {
namespace {

constexpr Duration kOften = std::chrono::milliseconds(2);
// A thread of this test may have to wait for a processor for a while.
constexpr Duration kSoon = std::chrono::milliseconds(200);

class HangingEngine {
 public:
  HangingEngine() : loop_((Prepare(), &engine_.engine), nullptr) {}
  ~HangingEngine() { Release(); }

  void Submit() { engine_.Submit(engine_.MakeRequest({1}, 3)); }
  void Release() {
    if (!std::exchange(released_, true)) release_.set_value();
  }
  void AwaitEnd() { engine_.log.WaitForTerminals(1); }
  EngineProgress Progress() const { return engine_.engine.Progress(); }

 private:
  // The second step never ends by itself.
  void Prepare() {
    runner_.on_launch = [this, step = 0](const BatchInput&) mutable {
      if (++step == 2) gate_.wait();
      return absl::OkStatus();
    };
  }

  std::promise<void> release_;
  std::future<void> gate_ = release_.get_future();
  bool released_ = false;
  testing::EndlessRunner runner_;
  testing::BareEngine engine_{&runner_};
  EngineLoop loop_;
};

TEST(LivenessMonitorTest, AnEngineThatHangsIsNotLiveAndIsAgainWhenItGoesOn) {
  HangingEngine engine;
  std::promise<LivenessReport> not_live, live_again;
  const LivenessMonitor monitor(
      {.step_timeout = kSoon}, kOften, [&] { return LivenessFacts{.engine = engine.Progress()}; },
      [&](const LivenessReport& report) {
        if (!report.changed) return;
        (report.state == LivenessState::kLive ? live_again : not_live).set_value(report);
      });
  engine.Submit();
  const LivenessReport stuck = not_live.get_future().get();
  EXPECT_EQ(stuck.state, LivenessState::kNotLive);
  EXPECT_TRUE(stuck.stuck);
  EXPECT_GE(stuck.stalled, kSoon);
  EXPECT_EQ(stuck.facts.engine.live_requests, 1);
  EXPECT_EQ(stuck.facts.engine.steps, 1u);
  engine.Release();
  const LivenessReport again = live_again.get_future().get();
  EXPECT_FALSE(again.stuck);
  EXPECT_EQ(again.stalled, Duration::zero());
  engine.AwaitEnd();
}

TEST(LivenessMonitorTest, AnEngineThatHangsOnIsOverOnce) {
  HangingEngine engine;
  std::vector<LivenessState> changes;  // until the promise is kept the monitor's
  std::promise<void> over;
  const LivenessMonitor monitor(
      {.step_timeout = kSoon, .exit_after = kSoon}, kOften,
      [&] { return LivenessFacts{.engine = engine.Progress()}; },
      [&](const LivenessReport& report) {
        if (report.changed) changes.push_back(report.state);
        if (report.state == LivenessState::kOver) over.set_value();  // a second time would throw
      });
  engine.Submit();
  over.get_future().wait();
  EXPECT_EQ(changes, (std::vector{LivenessState::kNotLive, LivenessState::kOver}));
}

TEST(LivenessMonitorTest, ItLooksAgainAndAgainUntilItIsDestroyed) {
  std::promise<void> looked;
  int looks = 0;  // the monitor's
  const LivenessMonitor monitor(
      {}, kOften, [] { return LivenessFacts(); },
      [&](const LivenessReport& report) {
        EXPECT_FALSE(report.changed);
        if (++looks == 20) looked.set_value();
      });
  looked.get_future().wait();
}

TEST(LivenessMonitorTest, ALongIntervalDoesNotHoldItsEnd) {
  const LivenessMonitor monitor(
      {}, std::chrono::hours(1), [] { return LivenessFacts(); }, [](const LivenessReport&) {});
}

}  // namespace
}  // namespace quire::server
