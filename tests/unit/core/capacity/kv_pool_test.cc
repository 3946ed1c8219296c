#include "core/capacity/kv_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/kv/kv_cache_manager.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

// One block: 16 tokens * K and V * 2 groups * 64 * 2 bytes * 2 layers = 16 KiB.
KvLayout SmallLayout() {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.dtype = kernels::DType::kBF16;
  layout.layers = {{.kv_groups = 2, .head_dim = 64}, {.kv_groups = 2, .head_dim = 64}};
  return layout;
}

KvLayout WithWindow(KvLayout layout, int32_t window) {
  layout.window = window;
  return layout;
}

struct Case {
  const char* what;
  int64_t memory_bytes;
  int32_t context_tokens;
  int64_t blocks;
  int64_t sequences;
};

TEST(KvPoolTest, CountsWholeBlocksAndWholeSequences) {
  constexpr int64_t kBlock = 16384;
  const Case cases[] = {
      {"no memory", 0, 16, 0, 0},
      {"one byte short of a block", kBlock - 1, 16, 0, 0},
      {"exactly one block", kBlock, 16, 1, 1},
      {"a context of one token takes a block", 3 * kBlock, 1, 3, 3},
      {"the last token takes none", 4 * kBlock, 17, 4, 4},
      {"one token more takes another block", 4 * kBlock, 18, 4, 2},
      {"the rest of a sequence does not count", 5 * kBlock, 32, 5, 2},
      {"a context longer than the memory", 5 * kBlock, 82, 5, 0},
      {"the longest context", 5 * kBlock, INT32_MAX, 5, 0},
  };
  for (const Case& c : cases) {
    const KvPool pool = PlanKvPool({SmallLayout()}, c.memory_bytes);
    EXPECT_THAT(pool.blocks, ElementsAre(c.blocks)) << c.what;
    EXPECT_EQ(pool.bytes, c.blocks * kBlock) << c.what;
    EXPECT_EQ(SequencesThatFit({SmallLayout()}, pool, c.context_tokens, 1), c.sequences) << c.what;
  }
}

TEST(KvPoolTest, AWindowBoundsWhatALongSequenceHolds) {
  const KvLayout windowed = WithWindow(SmallLayout(), 64);
  constexpr int32_t kBlock = 16384;
  EXPECT_EQ(SequenceKvBytes({windowed}, 16), kBlock);
  EXPECT_EQ(SequenceKvBytes({windowed}, 100000), 5 * kBlock) << "64 positions touch 5 blocks";
  EXPECT_EQ(SequenceKvBytes({SmallLayout(), windowed}, 160), 15 * kBlock);
  EXPECT_EQ(PromisedKvBytes({SmallLayout(), windowed}, 161, 1), 15 * kBlock);
  EXPECT_EQ(PromisedKvBytes({SmallLayout(), windowed}, 161, 64), 19 * kBlock)
      << "with 64 tokens on their way";
}

TEST(KvPoolTest, TwoClassesNeedASlabEach) {
  const KvLayouts classes = {SmallLayout(), WithWindow(SmallLayout(), 64)};
  constexpr int64_t kBlock = 16384;
  EXPECT_EQ(PlanKvPool(classes, 2 * kBlock - 1).bytes, 0);
  const KvPool pool = PlanKvPool(classes, 2 * kBlock);
  EXPECT_EQ(pool.bytes, 2 * kBlock);
  EXPECT_EQ(SequencesThatFit(classes, pool, 16, 1), 1);
}

// The allocator itself, promised one sequence after the other.
TEST(KvPoolTest, WhatFitsIsWhatTheAllocatorPromises) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 1000; ++i) {
    KvLayouts classes(1, SmallLayout());
    classes[0].block_tokens = 16 << (random() % 6);
    for (auto& layer : classes[0].layers) layer.kv_groups = 1 + static_cast<int32_t>(random() % 32);
    if (random() % 2 == 0) {
      classes.push_back(WithWindow(classes[0], 1 + static_cast<int32_t>(random() % 1000)));
      classes[1].layers.resize(1 + random() % 5, classes[0].layers[0]);
    }
    const auto memory = static_cast<int64_t>(random() % (int64_t{1} << 30));
    const auto context = 1 + static_cast<int32_t>(random() % 20000);
    const auto in_flight = 1 + static_cast<int64_t>(random() % 1024);
    const KvPool pool = PlanKvPool(classes, memory);
    ASSERT_LE(pool.bytes, memory);
    const int64_t sequences = SequencesThatFit(classes, pool, context, in_flight);
    if (pool.bytes == 0) {
      ASSERT_LT(memory, static_cast<int64_t>(LeastKvBytes(classes)));
      ASSERT_EQ(sequences, 0);
      continue;
    }
    SlabArena arena(static_cast<size_t>(pool.bytes), static_cast<size_t>(pool.slab_bytes));
    const KvCacheManager kv(classes, &arena, in_flight);
    ASSERT_EQ(kv.TotalBytes(),
              classes.size() > 1 ? pool.bytes
                                 : pool.blocks[0] * static_cast<int64_t>(classes[0].BlockBytes()));
    const KvBlockCounts promise = kv.PromiseFor(std::max(context - 1, 1));
    ASSERT_EQ(kv.BytesOf(promise), PromisedKvBytes(classes, context, in_flight));
    KvBudget budget = kv.Budget();
    int64_t promised = 0;
    while (budget.TryTake(promise)) ++promised;
    ASSERT_EQ(sequences, promised);
  }
}

}  // namespace
}  // namespace quire
