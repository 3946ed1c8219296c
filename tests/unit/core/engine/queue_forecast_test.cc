#include "core/engine/queue_forecast.h"

#include <optional>

#include "gtest/gtest.h"

namespace quire {
namespace {

TimePoint At(double seconds) { return TimePoint(std::chrono::hours(1)) + FromSeconds(seconds); }

// Has seen `tokens` start each tenth of a second, for so many seconds in which somebody waited.
QueueForecast After(double seconds, int64_t tokens) {
  QueueForecast forecast;
  forecast.Advance(At(0), false);
  for (int i = 1; i <= static_cast<int>(seconds * 10); ++i) {
    forecast.OnStarted(tokens);
    forecast.Advance(At(i / 10.0), true);
  }
  return forecast;
}

double Seconds(std::optional<Duration> duration) { return ToSeconds(duration.value()); }

TEST(QueueForecastTest, KnowsNothingAtFirst) {
  QueueForecast forecast;
  EXPECT_EQ(forecast.TimeFor(100), std::nullopt);
  EXPECT_EQ(forecast.RetryAfter(100), std::chrono::seconds(1));
  EXPECT_EQ(After(0.4, 10).TimeFor(100), std::nullopt) << "too little has been seen";
  EXPECT_EQ(After(5, 0).TimeFor(100), std::nullopt) << "nothing has moved";
}

TEST(QueueForecastTest, TellsTheTimeFromTheTokensThatStartedASecond) {
  const QueueForecast forecast = After(5, 10);
  EXPECT_NEAR(Seconds(forecast.TimeFor(1000)), 10, 0.2);
  EXPECT_NEAR(Seconds(forecast.TimeFor(100)), 1, 0.02);
  EXPECT_EQ(forecast.TimeFor(0), Duration::zero());
}

TEST(QueueForecastTest, TimeInWhichNobodyWaitedDoesNotCount) {
  QueueForecast forecast = After(5, 10);
  const std::optional<Duration> before = forecast.TimeFor(100);
  forecast.Advance(At(10), false);
  EXPECT_NEAR(Seconds(forecast.TimeFor(100)), Seconds(before), 1e-6);
  forecast.OnStarted(10);
  forecast.Advance(At(10.1), true);
  EXPECT_NEAR(Seconds(forecast.TimeFor(100)), 1, 0.02);
}

TEST(QueueForecastTest, AQueueThatWasEmptyForLongIsForgotten) {
  QueueForecast forecast = After(60, 10);
  forecast.Advance(At(160), false);
  EXPECT_EQ(forecast.TimeFor(100), std::nullopt);
}

TEST(QueueForecastTest, TimeMayPassInOneStepOrInMany) {
  QueueForecast one = After(5, 10), many = After(5, 10);
  one.Advance(At(35), true);
  for (int i = 1; i <= 300; ++i) many.Advance(At(5 + i / 10.0), true);
  EXPECT_NEAR(Seconds(one.TimeFor(100)), Seconds(many.TimeFor(100)), 1e-3);
}

TEST(QueueForecastTest, OlderTimesThanItHasSeenPassNoTime) {
  QueueForecast forecast = After(5, 10);
  const std::optional<Duration> before = forecast.TimeFor(100);
  forecast.Advance(At(1), true);
  EXPECT_EQ(forecast.TimeFor(100), before);
  forecast.Advance(At(5), true);
  EXPECT_EQ(forecast.TimeFor(100), before);
}

TEST(QueueForecastTest, WhatIsOlderCountsLess) {
  QueueForecast forecast = After(60, 10);
  for (int i = 1; i <= 600; ++i) {
    forecast.OnStarted(20);
    forecast.Advance(At(60 + i / 10.0), true);
  }
  EXPECT_NEAR(Seconds(forecast.TimeFor(200)), 1, 0.02) << "twice as fast as a minute ago";
}

TEST(QueueForecastTest, WhileNothingStartsItTakesLonger) {
  QueueForecast forecast = After(5, 10);
  forecast.Advance(At(10), true);
  EXPECT_GT(Seconds(forecast.TimeFor(100)), 1.9);
}

TEST(QueueForecastTest, RetryWhenHalfOfThemHaveStartedWithinReason) {
  const QueueForecast forecast = After(5, 10);
  EXPECT_NEAR(ToSeconds(forecast.RetryAfter(1000)), 5, 0.1);
  EXPECT_EQ(forecast.RetryAfter(0), std::chrono::milliseconds(50));
  EXPECT_EQ(forecast.RetryAfter(1'000'000), std::chrono::seconds(60));
  EXPECT_EQ(forecast.RetryAfter(INT64_MAX), std::chrono::seconds(60));
}

}  // namespace
}  // namespace quire
