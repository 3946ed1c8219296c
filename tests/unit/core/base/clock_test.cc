#include "core/base/clock.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(ClockTest, TheSteadyClockNeverGoesBack) {
  const SteadyClock clock;
  const TimePoint first = clock.Now();
  EXPECT_GE(clock.Now(), first);
}

TEST(ClockTest, NoDeadlineLiesBehindEveryMoment) { EXPECT_GT(kNoDeadline, SteadyClock().Now()); }

TEST(ClockTest, DurationsConvertToSeconds) {
  EXPECT_DOUBLE_EQ(ToSeconds(std::chrono::milliseconds(1500)), 1.5);
  EXPECT_DOUBLE_EQ(ToSeconds(std::chrono::nanoseconds(-1)), -1e-9);
}

}  // namespace
}  // namespace quire
