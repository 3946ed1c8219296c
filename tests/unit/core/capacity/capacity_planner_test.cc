#include "core/capacity/capacity_planner.h"

#include <gtest/gtest.h>

#include <random>

namespace quire {
namespace {

// One block: 16 tokens * K and V * 2 groups * 64 * 2 bytes * 2 layers = 16 KiB.
KvLayout SmallLayout() {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.dtype = kernels::DType::kBF16;
  layout.layers = {{.kv_groups = 2, .head_dim = 64}, {.kv_groups = 2, .head_dim = 64}};
  return layout;
}

struct Case {
  const char* what;
  int64_t memory_bytes;
  int32_t context_tokens;
  int64_t blocks;
  int64_t tokens;
  int64_t sequences;
};

TEST(CapacityPlannerTest, CountsWholeBlocksAndWholeSequences) {
  constexpr int64_t kBlock = 16384;
  const Case cases[] = {
      {"no memory", 0, 16, 0, 0, 0},
      {"one byte short of a block", kBlock - 1, 16, 0, 0, 0},
      {"exactly one block", kBlock, 16, 1, 16, 1},
      {"a context of one token takes a block", 3 * kBlock, 1, 3, 48, 3},
      {"one token more takes another block", 4 * kBlock, 17, 4, 64, 2},
      {"the rest of a sequence does not count", 5 * kBlock, 32, 5, 80, 2},
      {"a context longer than the memory", 5 * kBlock, 81, 5, 80, 0},
      {"the longest context", 5 * kBlock, INT32_MAX, 5, 80, 0},
  };
  for (const Case& c : cases) {
    const KvCapacity capacity = PlanKvCapacity({SmallLayout()}, c.memory_bytes, c.context_tokens);
    EXPECT_EQ(capacity.blocks, c.blocks) << c.what;
    EXPECT_EQ(capacity.tokens, c.tokens) << c.what;
    EXPECT_EQ(capacity.sequences, c.sequences) << c.what;
  }
}

TEST(CapacityPlannerTest, WhatFitsFitsAndOneMoreDoesNot) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 1000; ++i) {
    KvLayout layout = SmallLayout();
    layout.block_tokens = 16 << (random() % 6);
    for (auto& layer : layout.layers) layer.kv_groups = 1 + static_cast<int32_t>(random() % 32);
    const auto memory = static_cast<int64_t>(random() % (int64_t{1} << 40));
    const auto context = 1 + static_cast<int32_t>(random() % 200000);
    const KvCapacity capacity = PlanKvCapacity({layout}, memory, context);
    const auto block_bytes = static_cast<int64_t>(layout.BlockBytes());
    const int64_t sequence_bytes = layout.BlocksFor(context) * block_bytes;
    ASSERT_LE(capacity.blocks * block_bytes, memory);
    ASSERT_GT((capacity.blocks + 1) * block_bytes, memory);
    ASSERT_LE(capacity.sequences * sequence_bytes, memory);
    ASSERT_GT((capacity.sequences + 1) * sequence_bytes, memory);
  }
}

TEST(CapacityPlannerTest, AWindowBoundsWhatALongSequenceHolds) {
  KvLayout windowed = SmallLayout();
  windowed.window = 64;
  constexpr int32_t kBlock = 16384;
  EXPECT_EQ(SequenceKvBytes({windowed}, 16), kBlock);
  EXPECT_EQ(SequenceKvBytes({windowed}, 100000), 5 * kBlock) << "64 positions touch 5 blocks";
  EXPECT_EQ(SequenceKvBytes({SmallLayout(), windowed}, 160), 15 * kBlock);
  EXPECT_EQ(PlanKvCapacity({SmallLayout(), windowed}, 31 * kBlock, 160).sequences, 2);
}

}  // namespace
}  // namespace quire
