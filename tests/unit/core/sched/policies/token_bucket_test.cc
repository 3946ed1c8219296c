#include "core/sched/policies/token_bucket.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

TimePoint At(double seconds) { return TimePoint(std::chrono::hours(1)) + FromSeconds(seconds); }

TokenBucket WithRate(double rate, double burst) {
  TokenBucket bucket;
  bucket.SetRate(rate, burst);
  return bucket;
}

TEST(TokenBucketTest, WithoutARateItIsAlwaysOpen) {
  TokenBucket bucket;
  bucket.Take(1e9, At(0));
  EXPECT_EQ(bucket.OpenAt(At(0)), At(0));
}

TEST(TokenBucketTest, IsOpenUntilItIsAheadByTheBurst) {
  TokenBucket bucket = WithRate(10, 20);
  bucket.Take(19, At(0));
  EXPECT_EQ(bucket.OpenAt(At(0)), At(0));
  bucket.Take(1, At(0));
  EXPECT_GT(bucket.OpenAt(At(0)), At(0));
}

TEST(TokenBucketTest, OpensWhenTheTimeHasCaughtUp) {
  TokenBucket bucket = WithRate(10, 20);
  bucket.Take(50, At(0));
  const TimePoint opens = bucket.OpenAt(At(0));
  EXPECT_NEAR(ToSeconds(opens - At(0)), 3, 1e-6);
  EXPECT_EQ(bucket.OpenAt(opens), opens) << "it is open at the time it told";
  EXPECT_NEAR(ToSeconds(WithRate(10, 20).OpenAt(At(0)) - At(0)), 0, 1e-9);
}

TEST(TokenBucketTest, IsOpenAtTheTimeItToldWheneverItWasAsked) {
  for (const double rate : {0.3, 3.0, 16.0, 7e5}) {
    TokenBucket bucket = WithRate(rate, 8);
    TimePoint now = At(0);
    for (int i = 1; i <= 2000; ++i) {
      bucket.Take(i % 7, now);
      const TimePoint opens = bucket.OpenAt(now, i % 3);
      now += (opens - now) / (i % 5 + 1);
      const TimePoint later = bucket.OpenAt(now, i % 3);
      if (later > now) now = later;
      ASSERT_EQ(bucket.OpenAt(now, i % 3), now) << rate << ", " << i;
    }
  }
}

TEST(TokenBucketTest, TakingWhileClosedOpensItLater) {
  TokenBucket bucket = WithRate(10, 20);
  bucket.Take(30, At(0));
  EXPECT_NEAR(ToSeconds(bucket.OpenAt(At(0)) - At(0)), 1, 1e-6);
  bucket.Take(20, At(0.5));
  EXPECT_NEAR(ToSeconds(bucket.OpenAt(At(0.5)) - At(0)), 3, 1e-6);
}

TEST(TokenBucketTest, IdleTimeSavesUpNoMoreThanTheBurst) {
  TokenBucket bucket = WithRate(10, 20);
  bucket.Take(1, At(0));
  bucket.Take(20, At(1000));
  EXPECT_GT(bucket.OpenAt(At(1000)), At(1000));
}

TEST(TokenBucketTest, WithoutABurstItMayBeAheadByOneSecond) {
  TokenBucket bucket = WithRate(10, 0);
  bucket.Take(9, At(0));
  EXPECT_EQ(bucket.OpenAt(At(0)), At(0));
  bucket.Take(6, At(0));
  EXPECT_NEAR(ToSeconds(bucket.OpenAt(At(0)) - At(0)), 0.5, 1e-6);
}

TEST(TokenBucketTest, WhatIsExpectedCountsAsTaken) {
  TokenBucket bucket = WithRate(10, 20);
  bucket.Take(10, At(0));
  EXPECT_EQ(bucket.OpenAt(At(0), 9), At(0));
  EXPECT_NEAR(ToSeconds(bucket.OpenAt(At(0), 30) - At(0)), 2, 1e-6);
  EXPECT_EQ(bucket.OpenAt(At(0)), At(0)) << "but is not taken";
}

TEST(TokenBucketTest, TheSameRateAgainForgivesNothing) {
  TokenBucket bucket = WithRate(10, 0);
  bucket.Take(40, At(0));
  bucket.SetRate(10, 10);
  EXPECT_NEAR(ToSeconds(bucket.OpenAt(At(0)) - At(0)), 3, 1e-6);
}

TEST(TokenBucketTest, ATinyRateIsNotFast) {
  TokenBucket bucket = WithRate(1e-6, 1);
  bucket.Take(30000, At(0));
  EXPECT_GT(bucket.OpenAt(At(0)), At(1e8));
}

TEST(TokenBucketTest, ANewRateForgivesWhatIsBeyondItsBurst) {
  TokenBucket bucket = WithRate(10, 20);
  bucket.Take(1000, At(0));
  bucket.SetRate(5, 10);
  EXPECT_NEAR(ToSeconds(bucket.OpenAt(At(0)) - At(0)), 0, 1e-6);
  bucket.Take(5, At(0));
  EXPECT_NEAR(ToSeconds(bucket.OpenAt(At(0)) - At(0)), 1, 1e-6) << "but not the burst";
  bucket.SetRate(0, 0);
  EXPECT_EQ(bucket.OpenAt(At(0)), At(0));
}

}  // namespace
}  // namespace quire
