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

// A pool of one slab.
BlockPool OneSlab(int32_t blocks) {
  BlockPool pool(blocks, 1);
  pool.AddSlab();
  return pool;
}

TEST(BlockPoolTest, HandsOutEveryBlockOnce) {
  BlockPool pool = OneSlab(5);
  std::set<BlockId> seen;
  for (BlockId block : Take(&pool, 5)) {
    EXPECT_LT(block.value(), 5u);
    EXPECT_TRUE(seen.insert(block).second) << "block " << block.value() << " twice";
  }
  EXPECT_EQ(CountsOf(pool), (Counts{0, 5, 0}));
}

TEST(BlockPoolTest, TheSlabThatABlockCameBackToIsTakenFromNext) {
  BlockPool pool(2, 3);
  for (int i = 0; i < 3; ++i) pool.AddSlab();
  const std::vector<BlockId> blocks = Take(&pool, 2);  // a whole slab
  pool.Release(blocks[0]);
  pool.Free(blocks[0]);
  EXPECT_EQ(Take(&pool, 1)[0], blocks[0]) << "so that the others stay empty";
}

TEST(BlockPoolTest, AllocateIsAllOrNothing) {
  BlockPool pool = OneSlab(3);
  std::vector<BlockId> blocks = Take(&pool, 1);
  EXPECT_FALSE(pool.Allocate(3, &blocks));
  EXPECT_EQ(blocks.size(), 1u);
  EXPECT_EQ(CountsOf(pool), (Counts{2, 1, 0}));
  EXPECT_TRUE(pool.Allocate(2, &blocks));
  EXPECT_EQ(blocks.size(), 3u);
}

TEST(BlockPoolTest, AllocatingNothingAlwaysWorks) {
  BlockPool pool(1, 0);
  EXPECT_TRUE(Take(&pool, 0).empty());
  EXPECT_EQ(CountsOf(pool), (Counts{0, 0, 0}));
}

TEST(BlockPoolTest, AReleasedBlockIsNotHandedOutBeforeItIsFreed) {
  BlockPool pool = OneSlab(1);
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
  BlockPool pool = OneSlab(4);
  const std::vector<BlockId> blocks = Take(&pool, 4);
  for (BlockId block : {blocks[2], blocks[0]}) {
    pool.Release(block);
    pool.Free(block);
  }
  EXPECT_EQ(Take(&pool, 2), (std::vector<BlockId>{blocks[0], blocks[2]}));
}

TEST(BlockPoolTest, GrowsAndShrinksBySlabs) {
  BlockPool pool(2, 3);
  EXPECT_EQ(CountsOf(pool), (Counts{0, 0, 0}));
  EXPECT_EQ(pool.AddSlab(), 0);
  EXPECT_EQ(pool.AddSlab(), 1);
  EXPECT_EQ(CountsOf(pool), (Counts{4, 0, 0}));
  pool.RemoveSlab(0);
  EXPECT_EQ(CountsOf(pool), (Counts{2, 0, 0}));
  for (BlockId block : Take(&pool, 2)) EXPECT_EQ(pool.SlotOf(block), 1);
  EXPECT_EQ(pool.AddSlab(), 0) << "the slot is used again";
  EXPECT_EQ(pool.AddSlab(), 2);
  EXPECT_EQ(CountsOf(pool), (Counts{4, 2, 0}));
}

TEST(BlockPoolTest, AnOpenedSlabIsFilledBeforeTheOthers) {
  BlockPool pool(2, 3);
  for (int i = 0; i < 3; ++i) pool.AddSlab();
  const std::vector<BlockId> all = Take(&pool, 6);
  for (size_t i : {0, 2, 3}) {
    pool.Release(all[i]);
    pool.Free(all[i]);
  }
  const int32_t warm = pool.SlotOf(all[3]);
  EXPECT_EQ(pool.SlotOf(all[2]), warm);
  EXPECT_TRUE(pool.SlabIsFree(warm));
  EXPECT_FALSE(pool.SlabIsFree(pool.SlotOf(all[0])));
  EXPECT_EQ(Take(&pool, 3), (std::vector<BlockId>{all[3], all[2], all[0]}));
}

TEST(BlockPoolTest, RemovingASlabLeavesTheOthersAlone) {
  BlockPool pool(2, 4);
  for (int i = 0; i < 4; ++i) pool.AddSlab();
  pool.RemoveSlab(3);
  pool.RemoveSlab(1);
  std::set<int32_t> slots;
  for (BlockId block : Take(&pool, 4)) slots.insert(pool.SlotOf(block));
  EXPECT_EQ(slots, (std::set<int32_t>{0, 2}));
  std::vector<BlockId> none;
  EXPECT_FALSE(pool.Allocate(1, &none));
}

TEST(BlockPoolTest, ASharedBlockIsHeldUntilItsLastTableLetsGo) {
  BlockPool pool(2, 1);
  pool.AddSlab();
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.Allocate(1, &blocks));
  pool.Share(blocks[0]);
  EXPECT_EQ(pool.references(blocks[0]), 2);
  EXPECT_EQ(pool.num_held(), 1);
  EXPECT_FALSE(pool.Release(blocks[0]));
  EXPECT_EQ(pool.num_held(), 1);
  EXPECT_TRUE(pool.Release(blocks[0]));
  EXPECT_EQ(pool.num_released(), 1);
  EXPECT_EQ(pool.num_references(), 0);
}

TEST(BlockPoolTest, ACachedBlockIsHeldAgainOrFreed) {
  BlockPool pool(2, 1);
  const int32_t slab = pool.AddSlab();
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.Allocate(1, &blocks));
  pool.Release(blocks[0]);
  pool.Cache(blocks[0]);
  EXPECT_EQ(pool.num_cached(), 1);
  EXPECT_FALSE(pool.SlabIsFree(slab));
  pool.Share(blocks[0]);
  EXPECT_EQ(pool.num_cached(), 0);
  EXPECT_EQ(pool.num_held(), 1);
  pool.Release(blocks[0]);
  pool.Share(blocks[0]);
  EXPECT_EQ(pool.num_released(), 0) << "from where it waited";
  pool.Release(blocks[0]);
  pool.Cache(blocks[0]);
  pool.Free(blocks[0]);
  EXPECT_EQ(pool.num_free(), 2);
}

TEST(BlockPoolDeathTest, ASlabInUseStaysAndAPoolHasAnEnd) {
  BlockPool pool(2, 1);
  const int32_t slot = pool.AddSlab();
  EXPECT_DEATH(pool.AddSlab(), "the pool holds 1 slabs already");
  const BlockId block = Take(&pool, 1)[0];
  EXPECT_DEATH(pool.RemoveSlab(slot), "slab 0 is in use");
  pool.Release(block);
  EXPECT_DEATH(pool.RemoveSlab(slot), "slab 0 is in use") << "a step may still touch it";
  pool.Free(block);
  pool.RemoveSlab(slot);
  EXPECT_DEATH(pool.RemoveSlab(slot), "slab 0 is in use");
  EXPECT_DEATH(pool.Release(block), "is not ours");
}

TEST(BlockPoolDeathTest, MisuseIsABrokenInvariant) {
  BlockPool pool = OneSlab(3);
  const BlockId held = Take(&pool, 2)[0];
  const BlockId released(1), unused(2);
  pool.Release(released);
  EXPECT_DEATH(pool.Release(unused), "block 2 is not held");
  EXPECT_DEATH(pool.Release(released), "block 1 is not held");
  EXPECT_DEATH(pool.Free(held), "block 0 is neither released nor cached");
  EXPECT_DEATH(pool.Free(unused), "block 2 is neither released nor cached");
  EXPECT_DEATH(pool.Release(BlockId(3)), "block 3 is not ours");
  EXPECT_DEATH(pool.Free(BlockId(UINT32_MAX)), "is not ours");
  std::vector<BlockId> blocks;
  EXPECT_DEATH((void)pool.Allocate(-1, &blocks), "count >= 0");
  EXPECT_DEATH(BlockPool(0, 1), "blocks_per_slab > 0");
  EXPECT_DEATH(BlockPool(1, -1), "max_slabs >= 0");
}

TEST(BlockPoolTest, TheSlabThatWasUsedLastIsTakenFromNext) {
  BlockPool pool(/*blocks_per_slab=*/2, /*max_slabs=*/2);
  pool.AddSlab();
  pool.AddSlab();
  std::vector<BlockId> of_slab[2];
  for (const BlockId block : Take(&pool, 4)) {
    of_slab[pool.SlotOf(block)].push_back(block);
  }
  const auto free = [&pool](BlockId block) {
    pool.Release(block);
    pool.Free(block);
  };
  free(of_slab[0][0]);
  free(of_slab[1][0]);
  free(of_slab[0][1]);
  EXPECT_EQ(pool.SlotOf(Take(&pool, 1)[0]), 0) << "so that the other may become empty";
  EXPECT_EQ(pool.SlotOf(Take(&pool, 1)[0]), 0);
  EXPECT_EQ(pool.SlotOf(Take(&pool, 1)[0]), 1);
}

}  // namespace
}  // namespace quire
