#include "server/liveness/liveness_judge.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/support/manual_clock.h"

namespace quire::server {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class LivenessJudgeTest : public ::testing::Test {
 protected:
  // Looks once a second for `time`; the last state.
  LivenessState Watch(Duration time, LivenessFacts facts) {
    LivenessState state = LivenessState::kLive;
    for (Duration d{}; d < time; d += seconds(1)) {
      clock_.Advance(seconds(1));
      state = judge_.Look(clock_.Now(), facts);
    }
    return state;
  }
  LivenessFacts Busy(uint64_t steps) const {
    return {.engine = {.live_requests = 2, .steps = steps}};
  }

  testing::ManualClock clock_;
  LivenessJudge judge_{{.step_timeout = seconds(60), .failed_probes = 3, .exit_after = seconds(30)},
                       seconds(2)};
};

TEST_F(LivenessJudgeTest, WorkWithoutAStepIsTooMuchAfterTheTimeout) {
  EXPECT_EQ(Watch(seconds(10), {}), LivenessState::kLive);
  EXPECT_EQ(Watch(seconds(59), Busy(0)), LivenessState::kLive);
  EXPECT_EQ(judge_.stalled(), seconds(59));
  EXPECT_FALSE(judge_.stuck());
  EXPECT_EQ(Watch(seconds(1), Busy(0)), LivenessState::kNotLive);
  EXPECT_TRUE(judge_.stuck());
}

TEST_F(LivenessJudgeTest, AStepInTimeIsEnough) {
  for (uint64_t step = 1; step <= 10; ++step) {
    EXPECT_EQ(Watch(seconds(60), Busy(step)), LivenessState::kLive) << "step " << step;
  }
}

TEST_F(LivenessJudgeTest, IdleIsWell) {
  EXPECT_EQ(Watch(seconds(59), Busy(7)), LivenessState::kLive);
  EXPECT_EQ(Watch(minutes(60), {.engine = {.steps = 7}}), LivenessState::kLive);
  EXPECT_EQ(judge_.stalled(), Duration::zero());
  EXPECT_EQ(Watch(seconds(59), Busy(7)), LivenessState::kLive) << "work has only just come";
}

TEST_F(LivenessJudgeTest, WaitingForATokenRateIsWellUntilItOpens) {
  LivenessFacts facts = Busy(7);
  facts.engine.rests_until = clock_.Now() + minutes(10);
  EXPECT_EQ(Watch(minutes(10) + seconds(58), facts), LivenessState::kLive);
  EXPECT_EQ(Watch(seconds(2), facts), LivenessState::kNotLive);
}

TEST_F(LivenessJudgeTest, WhenStepsGoOnItIsLiveAgainAndNothingIsHeldAgainstIt) {
  EXPECT_EQ(Watch(seconds(88), Busy(7)), LivenessState::kNotLive);
  EXPECT_EQ(Watch(seconds(1), Busy(8)), LivenessState::kLive);
  EXPECT_EQ(judge_.stalled(), Duration::zero());
  EXPECT_EQ(Watch(seconds(59), Busy(8)), LivenessState::kLive);
  EXPECT_EQ(Watch(seconds(30), Busy(8)), LivenessState::kNotLive);
  EXPECT_EQ(Watch(seconds(1), Busy(8)), LivenessState::kOver);
}

TEST_F(LivenessJudgeTest, FailedProbesInARowAreNotLive) {
  EXPECT_EQ(Watch(minutes(10), {.failed_probes = 2}), LivenessState::kLive);
  EXPECT_EQ(Watch(seconds(30), {.failed_probes = 3}), LivenessState::kNotLive);
  EXPECT_FALSE(judge_.stuck());
  EXPECT_EQ(Watch(seconds(1), {.failed_probes = 0}), LivenessState::kLive);
  EXPECT_EQ(Watch(seconds(30), {.failed_probes = 4}), LivenessState::kNotLive);
  EXPECT_EQ(Watch(seconds(1), {.failed_probes = 4}), LivenessState::kOver);
}

TEST_F(LivenessJudgeTest, OneTroubleAfterTheOtherIsNotLiveAllTheTime) {
  EXPECT_EQ(Watch(seconds(75), Busy(7)), LivenessState::kNotLive);
  LivenessFacts deaf = Busy(8);
  deaf.failed_probes = 3;
  EXPECT_EQ(Watch(seconds(16), deaf), LivenessState::kOver);
}

TEST_F(LivenessJudgeTest, AProcessThatStoodStillIsNotStuck) {
  for (int i = 0; i < 20; ++i) {
    clock_.Advance(minutes(10));
    EXPECT_EQ(judge_.Look(clock_.Now(), Busy(7)), LivenessState::kLive);
  }
  EXPECT_EQ(judge_.stalled(), seconds(2) * 19) << "the first look has found something new";
}

TEST(LivenessJudgeLimitsTest, ZeroIsNoLimit) {
  testing::ManualClock clock;
  LivenessJudge judge({.exit_after = seconds(1)}, seconds(2));
  LivenessJudge stays({.step_timeout = seconds(1)}, seconds(2));
  const LivenessFacts facts = {.engine = {.live_requests = 1}, .failed_probes = 1000};
  for (int i = 0; i < 1000; ++i) {
    clock.Advance(seconds(1));
    EXPECT_EQ(judge.Look(clock.Now(), facts), LivenessState::kLive);
    EXPECT_NE(stays.Look(clock.Now(), facts), LivenessState::kOver);
  }
}

}  // namespace
}  // namespace quire::server
