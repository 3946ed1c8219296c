#include "core/sched/policies/preemption.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(PreemptionTest, TheCheaperOfTheTwoIsChosen) {
  // A link of 10 GB/s each way, and 20,000 tokens of prefill a second.
  const PreemptionCosts costs{.swap_seconds_per_byte = 0.2e-9,
                              .recompute_seconds_per_token = 50e-6};
  EXPECT_TRUE(SwapIsCheaper(100, 100 * 128 << 10, costs)) << "26 us a token";
  EXPECT_FALSE(SwapIsCheaper(100, 100 * 512 << 10, costs)) << "105 us a token";
  EXPECT_FALSE(SwapIsCheaper(1, 16 * 128 << 10, costs)) << "a block moves whole";
}

TEST(PreemptionTest, WithoutAMeasurementNothingIsSwapped) {
  EXPECT_FALSE(SwapIsCheaper(1000, 1, {.swap_seconds_per_byte = 1e-9}));
  EXPECT_FALSE(SwapIsCheaper(1000, 1, {.recompute_seconds_per_token = 1}));
}

TEST(PreemptionTest, WhatHasComputedNothingIsNotSwapped) {
  EXPECT_FALSE(SwapIsCheaper(0, 0, {1e-9, 1}));
}

}  // namespace
}  // namespace quire
