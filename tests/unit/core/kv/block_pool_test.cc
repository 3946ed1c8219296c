#include "core/kv/block_pool.h"

#include <set>

#include "gtest/gtest.h"

namespace quire {
namespace {

struct Counts {
  int32_t free, held, released;
  bool operator==(const Counts&) const = default;
};

Counts CountsOf(const BlockPool& pool) {
  EXPECT_EQ(pool.num_free() + pool.num_held() + pool.num_released(), pool.num_blocks());
  return {pool.num_free(), pool.num_held(), pool.num_released()};
}

std::vector<BlockId> Take(BlockPool* pool, int32_t count) {
  std::vector<BlockId> blocks;
  EXPECT_TRUE(pool->Allocate(count, &blocks));
  return blocks;
}

TEST(BlockPoolTest, HandsOutEveryBlockOnce) {
  BlockPool pool(5);
  std::set<BlockId> seen;
  for (BlockId block : Take(&pool, 5)) {
    EXPECT_LT(block.value(), 5u);
    EXPECT_TRUE(seen.insert(block).second) << "block " << block.value() << " twice";
  }
  EXPECT_EQ(CountsOf(pool), (Counts{0, 5, 0}));
}

TEST(BlockPoolTest, AllocateIsAllOrNothing) {
  BlockPool pool(3);
  std::vector<BlockId> blocks = Take(&pool, 1);
  EXPECT_FALSE(pool.Allocate(3, &blocks));
  EXPECT_EQ(blocks.size(), 1u);
  EXPECT_EQ(CountsOf(pool), (Counts{2, 1, 0}));
  EXPECT_TRUE(pool.Allocate(2, &blocks));
  EXPECT_EQ(blocks.size(), 3u);
}

TEST(BlockPoolTest, AllocatingNothingAlwaysWorks) {
  BlockPool pool(0);
  EXPECT_TRUE(Take(&pool, 0).empty());
  EXPECT_EQ(CountsOf(pool), (Counts{0, 0, 0}));
}

TEST(BlockPoolTest, AReleasedBlockIsNotHandedOutBeforeItIsFreed) {
  BlockPool pool(1);
  const BlockId block = Take(&pool, 1)[0];
  pool.Release(block);
  EXPECT_EQ(CountsOf(pool), (Counts{0, 0, 1}));
  std::vector<BlockId> none;
  EXPECT_FALSE(pool.Allocate(1, &none));
  pool.Free(block);
  EXPECT_EQ(CountsOf(pool), (Counts{1, 0, 0}));
  EXPECT_EQ(Take(&pool, 1)[0], block);
}

TEST(BlockPoolTest, TheBlockFreedLastIsReusedFirst) {
  BlockPool pool(4);
  const std::vector<BlockId> blocks = Take(&pool, 4);
  for (BlockId block : {blocks[2], blocks[0]}) {
    pool.Release(block);
    pool.Free(block);
  }
  EXPECT_EQ(Take(&pool, 2), (std::vector<BlockId>{blocks[0], blocks[2]}));
}

TEST(BlockPoolDeathTest, MisuseIsABrokenInvariant) {
  BlockPool pool(3);
  const BlockId held = Take(&pool, 2)[0];
  const BlockId released(1), unused(2);
  pool.Release(released);
  EXPECT_DEATH(pool.Release(unused), "block 2 is not held");
  EXPECT_DEATH(pool.Release(released), "block 1 is not held");
  EXPECT_DEATH(pool.Free(held), "block 0 is not released");
  EXPECT_DEATH(pool.Free(unused), "block 2 is not released");
  EXPECT_DEATH(pool.Release(BlockId(3)), "block 3 is not ours");
  EXPECT_DEATH(pool.Free(BlockId(UINT32_MAX)), "is not ours");
  std::vector<BlockId> blocks;
  EXPECT_DEATH((void)pool.Allocate(-1, &blocks), "count >= 0");
  EXPECT_DEATH(BlockPool(-1), "num_blocks >= 0");
}

}  // namespace
}  // namespace quire
