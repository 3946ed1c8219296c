#include "server/cli/load/load_laws.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace quire::cli {
namespace {

struct Moments {
  double mean = 0;
  double variance = 0;
};

Moments MomentsOf(const std::vector<double>& values) {
  Moments moments;
  for (double value : values) moments.mean += value / static_cast<double>(values.size());
  for (double value : values) {
    moments.variance += std::pow(value - moments.mean, 2) / static_cast<double>(values.size());
  }
  return moments;
}

TEST(IntervalLawTest, IntervalsHaveTheMeanOfTheRateAndTheVarianceOfTheBurstiness) {
  constexpr double kRate = 20;
  for (double burstiness : {0.2, 1.0, 4.0}) {
    for (uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << "burstiness " << burstiness << ", seed " << seed);
      IntervalLaw law(kRate, burstiness, seed);
      std::vector<double> intervals(200000);
      for (double& interval : intervals) interval = law.Draw();
      const Moments moments = MomentsOf(intervals);
      EXPECT_NEAR(moments.mean * kRate, 1, 0.03);
      EXPECT_NEAR(moments.variance * kRate * kRate * burstiness, 1, 0.06);
    }
  }
}

TEST(IntervalLawTest, ABurstinessOfOneIsAPoissonProcess) {
  constexpr double kRate = 50;
  constexpr int kSeconds = 20000;
  IntervalLaw law(kRate, 1, 7);
  std::vector<double> arrivals_in_second(kSeconds);
  for (double at = law.Draw(); at < kSeconds; at += law.Draw()) {
    ++arrivals_in_second[static_cast<size_t>(at)];
  }
  const Moments moments = MomentsOf(arrivals_in_second);
  EXPECT_NEAR(moments.mean, kRate, 0.5);
  EXPECT_NEAR(moments.variance, kRate, 2);
}

TEST(LengthLawTest, WithoutASigmaEveryLengthIsTheMedian) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(DrawLength({.median = 37}, 1000, &random), 37);
  EXPECT_EQ(DrawLength({.median = 37}, 20, &random), 20);
}

TEST(LengthLawTest, LengthsAreLogNormalAroundTheMedian) {
  std::mt19937_64 random(5);
  std::vector<double> logarithms(100000);
  int below = 0;
  for (double& logarithm : logarithms) {
    const int32_t length = DrawLength({.median = 1000, .sigma = 0.8}, 1 << 30, &random);
    below += length < 1000 ? 1 : 0;
    logarithm = std::log(length);
  }
  const Moments moments = MomentsOf(logarithms);
  EXPECT_NEAR(moments.mean, std::log(1000), 0.01);
  EXPECT_NEAR(std::sqrt(moments.variance), 0.8, 0.01);
  EXPECT_NEAR(below / 100000.0, 0.5, 0.01);
}

TEST(LengthLawTest, LengthsStayWithinOneAndTheMost) {
  std::mt19937_64 random(9);
  std::set<int32_t> seen;
  for (int i = 0; i < 10000; ++i) {
    seen.insert(DrawLength({.median = 8, .sigma = 5}, 64, &random));
  }
  EXPECT_EQ(*seen.begin(), 1);
  EXPECT_EQ(*seen.rbegin(), 64);
}

TEST(DeriveSeedTest, PurposesIndicesAndSeedsAllGiveAnother) {
  std::set<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (uint64_t index = 0; index < 10; ++index) {
      for (const char* purpose : {"arrivals", "lengths", "prompt"}) {
        seeds.insert(DeriveSeed(seed, purpose, index));
      }
    }
  }
  EXPECT_EQ(seeds.size(), 300u);
  EXPECT_EQ(DeriveSeed(3, "lengths", 4), DeriveSeed(3, "lengths", 4));
}

}  // namespace
}  // namespace quire::cli
