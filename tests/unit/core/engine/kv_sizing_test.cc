#include "core/engine/kv_sizing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/kv/kv_cache_manager.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr size_t kMiB = size_t{1} << 20;

// Blocks of `kib` KiB for 16 tokens.
KvLayout Layout(int32_t kib, int32_t window = 0) {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.window = window;
  layout.layers = {{.kv_groups = kib, .head_dim = 16}};
  return layout;
}

EngineOptions Options(int32_t running, int32_t context, int32_t step_tokens = 512) {
  EngineOptions options;
  options.max_running_requests = running;
  options.max_context_tokens = context;
  options.max_step_tokens = step_tokens;
  return options;
}

size_t Chosen(int64_t wanted, size_t available, const KvLayouts& classes,
              const EngineOptions& options) {
  const auto bytes = ChooseKvBytes(wanted, available, 0.5, classes, options, 0);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.value_or(0);
}

TEST(KvSizingTest, WithoutAWishItIsWhatTheRequestsCanUseAndAtMostHalf) {
  const KvLayouts classes = {Layout(1)};
  // 4 requests of 10 blocks of 1 KiB.
  EXPECT_EQ(Chosen(0, kMiB, classes, Options(4, 160)), 40u << 10);
  EXPECT_EQ(Chosen(0, 64 << 10, classes, Options(4, 160)), 32u << 10);
}

TEST(KvSizingTest, AWindowNeedsNoMoreThanItself) {
  // 16 positions of window and 16 of a step touch at most 3 blocks.
  const EngineOptions options = Options(4, 1600, 16);
  EXPECT_EQ(Chosen(0, kMiB, {Layout(1, 16)}, options), 12u << 10);
  EXPECT_GE(Chosen(0, 4 * kMiB, {Layout(1), Layout(1, 16)}, options), 400u << 10);
}

TEST(KvSizingTest, AWishIsTakenInWholeSlabs) {
  EXPECT_EQ(Chosen((100 << 10) + 700, kMiB, {Layout(1)}, Options(4, 160)), 100u << 10);
  const size_t bytes = Chosen(64 << 20, 128 * kMiB, {Layout(3), Layout(5, 32)}, Options(4, 160));
  EXPECT_LE(bytes, 64 * kMiB);
  EXPECT_GE(bytes, 63 * kMiB);
  EXPECT_EQ(bytes % KvCacheManager::SlabBytes({Layout(3), Layout(5, 32)}, 64 << 20), 0u);
}

TEST(KvSizingTest, WhatCannotBeHadIsRefusedWithWhatIsNeeded) {
  const struct {
    int64_t wanted;
    size_t available;
    KvLayouts classes;
    const char* reason;
  } cases[] = {
      {512, kMiB, {Layout(1)}, "blocks of 16 tokens take 1024; give it more with --kv-memory"},
      {1 << 12, kMiB, {Layout(3), Layout(5, 32)}, "take 10240"},
      {2 << 20, kMiB, {Layout(1)}, "only 1048576 are available; lower --kv-memory"},
      {0, 1024, {Layout(1)}, "the KV cache gets 512 bytes"},
  };
  for (const auto& c : cases) {
    const auto bytes = ChooseKvBytes(c.wanted, c.available, 0.5, c.classes, Options(4, 160), 0);
    EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(bytes.status().message()), HasSubstr(c.reason));
  }
}

TEST(KvSizingTest, OffsetsReachOneTebibyte) {
  constexpr int64_t kTiB = int64_t{1} << 40;
  EXPECT_LE(Chosen(2 * kTiB, 4 * kTiB, {Layout(1)}, Options(4, 160)), static_cast<size_t>(kTiB));
}

TEST(KvSizingTest, TablesAreNoLongerThanTheBlocksThereAreUnlessTheyOutliveThem) {
  const EngineOptions options = Options(4, 160);
  EXPECT_EQ(MaxTableEntries({Layout(1)}, options, kMiB), 40);
  EXPECT_EQ(MaxTableEntries({Layout(1)}, options, 7 << 10), 7);
  EXPECT_EQ(MaxTableEntries({Layout(1), Layout(1, 16)}, options, 7 << 10), 7);
  EXPECT_EQ(MaxTableEntries({Layout(1, 16)}, options, 7 << 10), 40);
}

}  // namespace
}  // namespace quire
