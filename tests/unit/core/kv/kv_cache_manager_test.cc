#include "core/kv/kv_cache_manager.h"

#include <set>

#include "core/plan/step_plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/kv/small_kv_cache.h"

namespace quire {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr SequenceId kA(1), kB(2), kC(3);

TEST(KvCacheManagerTest, AdmissionPromisesBlocksAndTakesNone) {
  SmallKvCache cache(8);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 8);
  cache.kv.Admit(kA, 33);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 5);
  EXPECT_EQ(cache.kv.Snapshot().classes[0].free_blocks, 8);
  EXPECT_EQ(cache.kv.Snapshot().classes[0].promised_blocks, 3);
  EXPECT_EQ(cache.kv.Table(kA).promised_blocks, 3);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
}

TEST(KvCacheManagerTest, GrowingTakesBlocksAsTokensNeedThem) {
  SmallKvCache cache(8);
  cache.kv.Admit(kA, 33);
  const struct {
    int64_t tokens;
    size_t blocks;
  } cases[] = {{1, 1}, {16, 1}, {17, 2}, {32, 2}, {33, 3}};
  for (const auto& c : cases) {
    cache.Grow(kA, c.tokens);
    EXPECT_THAT(cache.kv.Table(kA).blocks, SizeIs(c.blocks)) << c.tokens;
    EXPECT_EQ(cache.kv.Snapshot().classes[0].filled_slots, c.tokens);
    EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 5) << "paid for by the promise";
  }
  EXPECT_EQ(cache.kv.Snapshot().classes[0].promised_blocks, 0);
}

TEST(KvCacheManagerTest, BlocksOfAnIdleEngineAreFreeAtOnce) {
  SmallKvCache cache(8);
  cache.kv.Admit(kA, 40);
  cache.Grow(kA, 40);
  cache.kv.StepCompleted(StepId(1));
  cache.kv.Free(kA, StepId(1));
  EXPECT_EQ(cache.kv.Snapshot().classes[0].free_blocks, 8);
  EXPECT_EQ(cache.kv.Snapshot().classes[0].fenced_blocks, 0);
  EXPECT_EQ(cache.kv.Snapshot().classes[0].filled_slots, 0);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 8);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
}

TEST(KvCacheManagerTest, BlocksWaitForTheStepThatMayStillTouchThem) {
  SmallKvCache cache(8);
  cache.kv.Admit(kA, 40);
  cache.Grow(kA, 40);
  cache.kv.StepCompleted(StepId(1));
  cache.kv.Free(kA, StepId(2));  // step 2 is running
  EXPECT_EQ(cache.kv.Snapshot().classes[0].fenced_blocks, 3);
  EXPECT_EQ(cache.kv.Snapshot().classes[0].free_blocks, 5);
  EXPECT_EQ(cache.kv.Snapshot().classes[0].active_blocks, 0);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 5) << "fenced blocks cannot be promised";
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
  cache.kv.StepCompleted(StepId(2));
  EXPECT_EQ(cache.kv.Snapshot().classes[0].fenced_blocks, 0);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 8);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
}

TEST(KvCacheManagerTest, EachFenceOpensWithItsOwnStep) {
  SmallKvCache cache(6);
  for (SequenceId id : {kA, kB, kC}) {
    cache.kv.Admit(id, 32);
    cache.Grow(id, 32);
  }
  cache.kv.Free(kA, StepId(1));
  cache.kv.Free(kB, StepId(1));
  cache.kv.Free(kC, StepId(2));
  EXPECT_EQ(cache.kv.Snapshot().classes[0].fenced_blocks, 6);
  cache.kv.StepCompleted(StepId(1));
  EXPECT_EQ(cache.kv.Snapshot().classes[0].fenced_blocks, 2);
  cache.kv.StepCompleted(StepId(2));
  EXPECT_EQ(cache.kv.Snapshot().classes[0].fenced_blocks, 0);
}

TEST(KvCacheManagerTest, AFencedBlockIsInNobodyElsesTable) {
  SmallKvCache cache(3);
  cache.kv.Admit(kA, 32);
  cache.Grow(kA, 32);
  const std::vector<BlockId> fenced = cache.kv.Table(kA).blocks;
  cache.kv.Free(kA, StepId(1));
  cache.kv.Admit(kB, 16);
  cache.Grow(kB, 16);
  EXPECT_THAT(fenced, ::testing::Not(::testing::Contains(cache.kv.Table(kB).blocks[0])));
}

TEST(KvCacheManagerTest, TheSnapshotAccountsForEveryBlockAndByte) {
  SmallKvCache cache(10);
  cache.kv.Admit(kA, 64);
  cache.kv.Admit(kB, 32);
  cache.Grow(kA, 20);
  cache.Grow(kB, 5);
  cache.kv.Free(kB, StepId(1));
  const KvClassSnapshot s = cache.kv.Snapshot().classes[0];
  EXPECT_EQ(s.total_blocks, 10);
  EXPECT_EQ(s.free_blocks, 7);
  EXPECT_EQ(s.active_blocks, 2);
  EXPECT_EQ(s.fenced_blocks, 1);
  EXPECT_EQ(s.promised_blocks, 2);
  EXPECT_EQ(s.filled_slots, 20);
  EXPECT_EQ(s.allocated_total, 3u);
  EXPECT_EQ(s.freed_total, 0u);
  EXPECT_EQ(s.block_bytes, kSmallBlockBytes);
  EXPECT_EQ(cache.kv.Snapshot().arena_bytes, 10 * kSmallBlockBytes);
  EXPECT_EQ(s.block_tokens, 16);
  cache.kv.StepCompleted(StepId(1));
  EXPECT_EQ(cache.kv.Snapshot().classes[0].freed_total, 1u);
}

// Two layers, so blocks of 512 bytes.
KvLayout TwoLayers() {
  KvLayout layout = SmallLayout();
  layout.layers.push_back(layout.layers[0]);
  return layout;
}

TEST(KvCacheManagerTest, TheRestOfASlabIsNoBlock) {
  SlabArena arena(4 * 768 + 700, 768);  // one block of 512 and a rest in each slab
  KvCacheManager kv({TwoLayers()}, &arena, 16);
  ASSERT_EQ(arena.num_slabs(), 4);
  EXPECT_EQ(kv.cache_class(0).blocks_per_slab(), 1u);
  EXPECT_EQ(kv.cache_class(0).units_per_block(), 2u);
  EXPECT_EQ(kv.Snapshot().classes[0].total_blocks, 4);
  EXPECT_EQ(kv.LongestSequence(1000), 64);
}

TEST(KvCacheManagerTest, AddressesOfAllBlocksAreApart) {
  SlabArena arena(4 * 1280, 1280);  // two blocks of 512 and a rest in each slab
  KvCacheManager kv({TwoLayers()}, &arena, 16);
  kv.Admit(kA, 128);
  const KvNeed need{kA, 128};
  kv.Reserve({&need, 1}).Commit();
  const KvClassCache& cache = kv.cache_class(0);
  const BlockAddressing addressing{.units_per_block = cache.units_per_block(),
                                   .blocks_per_slab = cache.blocks_per_slab(),
                                   .slab_units = cache.slab_units()};
  std::set<uint32_t> units;
  for (BlockId block : kv.Table(kA).blocks) {
    const uint32_t start = addressing.OffsetUnits(block);
    EXPECT_LE((start + 2) * kernels::kKvOffsetUnit, 4u * 1280u);
    EXPECT_EQ(start / 5, (start + 1) / 5) << "in one slab";
    EXPECT_TRUE(units.insert(start).second && units.insert(start + 1).second) << start;
  }
  EXPECT_EQ(units.size(), 16u);
}

TEST(KvCacheManagerTest, ClaimsSlabsAsBlocksAreNeededAndReturnsEmptyOnes) {
  SlabArena arena(4 * 512, 512);  // two blocks a slab
  {
    KvCacheManager kv({SmallLayout()}, &arena, 16);
    kv.Admit(kA, 100);
    EXPECT_EQ(arena.free_slabs(), 4) << "a promise takes no memory";
    const KvNeed needs[] = {{kA, 48}};
    kv.Reserve(needs).Commit();
    EXPECT_EQ(arena.free_slabs(), 2);
    EXPECT_EQ(kv.Snapshot().classes[0].free_blocks, 5);
    kv.Free(kA, StepId(1));
    EXPECT_EQ(arena.free_slabs(), 2) << "fenced blocks keep their slab";
    kv.StepCompleted(StepId(1));
    EXPECT_EQ(arena.free_slabs(), 4);
    kv.Admit(kB, 16);
    const KvNeed need{kB, 16};
    kv.Reserve({&need, 1}).Commit();
  }
  EXPECT_EQ(arena.free_slabs(), 4);
}

TEST(KvCacheManagerDeathTest, UnknownAndRepeatedSequencesAreBrokenInvariants) {
  SmallKvCache cache(4);
  cache.kv.Admit(kA, 16);
  EXPECT_DEATH(cache.kv.Admit(kA, 16), "sequence 1 is admitted already");
  EXPECT_DEATH((void)cache.kv.Table(kB), "sequence 2 holds no KV");
  EXPECT_DEATH(cache.kv.Free(kB, StepId(0)), "sequence 2 holds no KV");
  EXPECT_DEATH(cache.Grow(kB, 1), "sequence 2 holds no KV");
  cache.kv.Free(kA, StepId(0));
  EXPECT_DEATH(cache.kv.Free(kA, StepId(0)), "sequence 1 holds no KV");
}

TEST(KvCacheManagerDeathTest, PromisesBindBothSides) {
  SmallKvCache cache(4);
  cache.kv.Admit(kA, 48);
  EXPECT_DEATH(cache.kv.Admit(kB, 17), "admission beyond the KV budget");
  cache.Grow(kA, 48);
  EXPECT_DEATH(cache.Grow(kA, 49), "grows beyond its promise of 3 blocks");
}

TEST(KvCacheManagerDeathTest, FencedBlocksCannotBePromised) {
  SmallKvCache cache(4);
  cache.kv.Admit(kA, 48);
  cache.Grow(kA, 48);
  cache.kv.Free(kA, StepId(1));
  EXPECT_DEATH(cache.kv.Admit(kB, 17), "admission beyond the KV budget");
}

TEST(KvCacheManagerDeathTest, StepsCompleteInLaunchOrder) {
  SmallKvCache cache(4);
  for (SequenceId id : {kA, kB}) {
    cache.kv.Admit(id, 16);
    cache.Grow(id, 16);
  }
  cache.kv.StepCompleted(StepId(3));
  EXPECT_DEATH(cache.kv.StepCompleted(StepId(2)), "steps complete in launch order");
  cache.kv.Free(kA, StepId(5));
  EXPECT_DEATH(cache.kv.Free(kB, StepId(4)), "fences out of order");
}

TEST(KvCacheManagerDeathTest, NeedsTheWholeArenaAndOffsetsThatFit) {
  SlabArena shared(1024, 256);
  (void)shared.Claim();
  EXPECT_DEATH(KvCacheManager({SmallLayout()}, &shared, 16), "the arena has another user");
  KvLayout huge = SmallLayout();
  huge.layers[0].head_dim = 1 << 19;  // 32 MiB a block
  SlabArena two_tebibytes(size_t{2} << 40, size_t{32} << 20);
  EXPECT_DEATH(KvCacheManager({huge}, &two_tebibytes, 16), "beyond 1 TiB");
  SlabArena small_slabs(1024, 256);
  EXPECT_DEATH(KvCacheManager({TwoLayers()}, &small_slabs, 16), "512 bytes in slabs of 256");
}

TEST(KvCacheManagerDeathTest, KvIsNotForgottenByReservingLess) {
  SmallKvCache cache(4);
  cache.kv.Admit(kA, 48);
  cache.Grow(kA, 20);
  EXPECT_DEATH(cache.Grow(kA, 19), "has 20 tokens already, not 19");
}

}  // namespace
}  // namespace quire
