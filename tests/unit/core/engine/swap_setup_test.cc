#include "core/engine/swap_setup.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/api/device_factory.h"
#include "tests/support/fake_swap_device.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using ::testing::IsNull;
using ::testing::NotNull;

KvLayouts OneLayer() {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.layers = {{.kv_groups = 1, .head_dim = 16}};
  return {layout};
}

class SwapSetupTest : public ::testing::Test {
 protected:
  SwapSetupTest() { EXPECT_TRUE(device_.Allocate(1 << 20, &arena_).ok()); }

  auto Make(std::optional<int64_t> bytes) {
    return MakeSwapper(&device_, arena_.data(), arena_.bytes(), OneLayer(), bytes);
  }

  testing::FakeSwapDevice device_{/*seed=*/1};
  kernels::DeviceBuffer arena_;
};

TEST_F(SwapSetupTest, TakesWhatWasAskedForAndNoMoreThanTheArenaHolds) {
  const auto some = Make(64 << 10);
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_EQ((*some)->host().bytes(), 64u << 10);
  for (const std::optional<int64_t> much : {std::optional<int64_t>(), std::optional(1L << 40)}) {
    const auto swapper = Make(much);
    ASSERT_TRUE(swapper.ok()) << swapper.status();
    EXPECT_EQ((*swapper)->host().bytes(), 1u << 20);
  }
}

TEST_F(SwapSetupTest, NoneIsNone) {
  const auto none = Make(0);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(*none, IsNull());
}

TEST_F(SwapSetupTest, TooLittleForABlockIsAnErrorThatSaysWhatToChange) {
  EXPECT_THAT(std::string(Make(100).status().message()), HasSubstr("holds no block of 1024"));
}

TEST_F(SwapSetupTest, WithoutPinnedMemoryItGoesWithoutUnlessItWasAskedFor) {
  device_.LimitHostMemory(1000);
  const auto by_default = Make(std::nullopt);
  ASSERT_TRUE(by_default.ok()) << by_default.status();
  EXPECT_THAT(*by_default, IsNull());
  EXPECT_EQ(Make(64 << 10).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SwapSetupTest, TheCpuCopiesNothingWhileItComputes) {
  std::unique_ptr<kernels::Device> cpu;
  ASSERT_TRUE(kernels::CreateDevice({.kind = "cpu", .threads = 1}, &cpu).ok());
  const auto by_default = MakeSwapper(cpu.get(), nullptr, 1 << 20, OneLayer(), std::nullopt);
  ASSERT_TRUE(by_default.ok()) << by_default.status();
  EXPECT_THAT(*by_default, IsNull());
  EXPECT_THAT(
      std::string(MakeSwapper(cpu.get(), nullptr, 1 << 20, OneLayer(), 1 << 20).status().message()),
      HasSubstr("cannot be swapped on this device"));
}

TEST_F(SwapSetupTest, TheLinkIsMeasured) {
  const auto cost = MeasureSwapCost(&device_, arena_.data(), arena_.bytes(), SteadyClock());
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_GT(*cost, 0);
  EXPECT_LT(*cost, 1e-6);
  device_.Lose();
  EXPECT_EQ(MeasureSwapCost(&device_, arena_.data(), 1000, SteadyClock()).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace quire
