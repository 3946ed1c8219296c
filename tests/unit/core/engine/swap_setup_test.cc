#include "core/engine/swap_setup.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/api/device_factory.h"
#include "tests/support/fake_swap_device.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using ::testing::IsNull;

KvLayouts OneLayer() {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.layers = {{.kv_groups = 1, .head_dim = 16}};
  return {layout};
}

class SwapSetupTest : public ::testing::Test {
 protected:
  SwapSetupTest() { EXPECT_TRUE(device_.Allocate(1 << 20, &arena_).ok()); }

  absl::StatusOr<Swapping> SetUpWith(std::optional<int64_t> bytes) {
    return SetUpSwap(&device_, {arena_.data(), arena_.bytes()}, OneLayer(), bytes, SteadyClock());
  }
  void ExpectNone(const absl::StatusOr<Swapping>& swapping) {
    ASSERT_TRUE(swapping.ok()) << swapping.status();
    EXPECT_THAT(swapping->swapper, IsNull());
  }

  testing::FakeSwapDevice device_{/*seed=*/1};
  kernels::DeviceBuffer arena_;
};

TEST_F(SwapSetupTest, TakesWhatWasAskedForAndNoMoreThanTheArenaHolds) {
  const auto some = SetUpWith(64 << 10);
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_EQ(some->swapper->host().bytes(), 64u << 10);
  for (const std::optional<int64_t> much : {std::optional<int64_t>(), std::optional(1L << 40)}) {
    const auto swapping = SetUpWith(much);
    ASSERT_TRUE(swapping.ok()) << swapping.status();
    EXPECT_EQ(swapping->swapper->host().bytes(), 1u << 20);
  }
}

TEST_F(SwapSetupTest, TheLinkIsMeasured) {
  const auto swapping = SetUpWith(64 << 10);
  ASSERT_TRUE(swapping.ok()) << swapping.status();
  EXPECT_GT(swapping->seconds_per_byte, 0);
  EXPECT_LT(swapping->seconds_per_byte, 1e-6);
}

TEST_F(SwapSetupTest, NoneIsNone) { ExpectNone(SetUpWith(0)); }

TEST_F(SwapSetupTest, TooLittleForABlockIsAnErrorThatSaysWhatToChange) {
  EXPECT_THAT(std::string(SetUpWith(100).status().message()), HasSubstr("holds no block of 1024"));
}

TEST_F(SwapSetupTest, WhatCannotBeHadIsAnErrorOnlyWhereItWasAskedFor) {
  device_.LimitHostMemory(1000);
  ExpectNone(SetUpWith(std::nullopt));
  EXPECT_EQ(SetUpWith(64 << 10).status().code(), absl::StatusCode::kResourceExhausted);
  device_.LimitHostMemory(64 << 10);  // each chunk of it, but not what the link is measured with
  ExpectNone(SetUpWith(std::nullopt));
  EXPECT_EQ(SetUpWith(64 << 10).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SwapSetupTest, ALostDeviceIsNoticed) {
  device_.Lose();
  EXPECT_EQ(SetUpWith(64 << 10).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SwapSetupTest, TheCpuCopiesNothingWhileItComputes) {
  std::unique_ptr<kernels::Device> cpu;
  ASSERT_TRUE(kernels::CreateDevice({.kind = "cpu", .threads = 1}, &cpu).ok());
  const auto set_up = [&](std::optional<int64_t> bytes) {
    return SetUpSwap(cpu.get(), {arena_.data(), arena_.bytes()}, OneLayer(), bytes, SteadyClock());
  };
  ExpectNone(set_up(std::nullopt));
  EXPECT_THAT(std::string(set_up(1 << 20).status().message()),
              HasSubstr("cannot be swapped on this device"));
}

}  // namespace
}  // namespace quire
