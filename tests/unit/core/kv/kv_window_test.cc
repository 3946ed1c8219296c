#include <set>

#include "core/kv/kv_cache_manager.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/kv/small_kv_cache.h"

// Cache classes with a window, alone and beside one that keeps everything.

namespace quire {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr SequenceId kA(1), kB(2);

KvLayout Windowed(int32_t window, size_t layers = 1) {
  KvLayout layout = SmallLayout();
  layout.window = window;
  layout.layers.resize(layers, layout.layers[0]);
  return layout;
}

class Cache {
 public:
  Cache(KvLayouts layouts, size_t slabs, size_t slab_bytes, int64_t in_flight)
      : arena(slabs * slab_bytes, slab_bytes), kv(std::move(layouts), &arena, in_flight) {}

  // A step that has been launched and completed.
  void Step(SequenceId sequence, int64_t kv_len) {
    const KvNeed need{sequence, kv_len};
    kv.Reserve({&need, 1}).Commit();
    kv.StepCompleted(StepId(++step));
    kv.Pass(sequence, kv_len);
    EXPECT_THAT(kv.CheckInvariants(), IsEmpty());
  }

  SlabArena arena;
  KvCacheManager kv;
  uint64_t step = 0;
};

TEST(KvWindowTest, TheMostBlocksCoverTheWindowAndTheStepsOnTheirWay) {
  const KvLayout layout = Windowed(32);
  EXPECT_EQ(layout.MostBlocks(20, 1), 2) << "a short sequence needs no more than itself";
  EXPECT_EQ(layout.MostBlocks(1000, 1), 3) << "32 positions may touch 3 blocks";
  EXPECT_EQ(layout.MostBlocks(1000, 64), 7);
  EXPECT_EQ(Windowed(0).MostBlocks(1000, 64), 63);
}

// Against a count of the positions themselves, for every window, chunk and place of the chunk.
TEST(KvWindowTest, NoRunOfPositionsNeedsMoreThanTheMostBlocks) {
  for (int32_t window : {1, 2, 15, 16, 17, 40}) {
    for (int32_t chunk : {1, 7, 16, 33}) {
      const KvLayout layout = Windowed(window);
      for (int32_t end = chunk; end < 150; ++end) {
        const int32_t lowest = std::max(end - chunk - window + 1, 0);
        const int32_t blocks = (end - 1) / 16 - lowest / 16 + 1;
        ASSERT_LE(blocks, layout.MostBlocks(1000, chunk)) << window << " " << chunk << " " << end;
      }
    }
  }
}

TEST(KvWindowTest, ABlockIsGivenUpOnceNoLaterPositionSeesIt) {
  Cache cache({Windowed(20)}, 8, kSmallBlockBytes, 16);
  cache.kv.Admit(kA, 100);
  // After `tokens` the next position sees down to tokens - 19.
  const struct {
    int64_t tokens;
    int32_t passed;
  } cases[] = {{16, 0}, {32, 0}, {34, 0}, {35, 1}, {50, 1}, {51, 2}, {67, 3}};
  for (const auto& c : cases) {
    cache.Step(kA, c.tokens);
    const BlockTable& table = cache.kv.Table(kA);
    EXPECT_EQ(table.passed_blocks, c.passed) << c.tokens;
    EXPECT_THAT(table.blocks, SizeIs((c.tokens + 15) / 16));
    EXPECT_EQ(cache.kv.Snapshot().classes[0].filled_slots, c.tokens - 16 * c.passed);
    for (size_t b = 0; b < table.blocks.size(); ++b) {
      EXPECT_EQ(table.blocks[b] == kNoBlock, b < static_cast<size_t>(c.passed)) << b;
    }
  }
  cache.kv.Free(kA, StepId(cache.step));
  EXPECT_TRUE(cache.kv.Snapshot().AllFree());
}

TEST(KvWindowTest, ASequenceLongerThanTheMemoryFitsBehindItsWindow) {
  Cache cache({Windowed(20)}, 4, kSmallBlockBytes, 16);
  ASSERT_EQ(cache.kv.LongestSequence(10000), 10000);
  cache.kv.Admit(kA, 10000);
  for (int64_t tokens = 16; tokens <= 10000; tokens += 16) cache.Step(kA, tokens);
  EXPECT_LE(cache.kv.Snapshot().classes[0].active_blocks, 4);
}

TEST(KvWindowTest, WithoutAWindowNothingIsGivenUp) {
  Cache cache({Windowed(0), Windowed(20)}, 20, kSmallBlockBytes, 16);
  cache.kv.Admit(kA, 100);
  for (int64_t tokens = 10; tokens <= 100; tokens += 10) cache.Step(kA, tokens);
  EXPECT_EQ(cache.kv.Table(kA, 0).passed_blocks, 0);
  EXPECT_EQ(cache.kv.Table(kA, 0).held_blocks(), 7);
  EXPECT_EQ(cache.kv.Table(kA, 1).passed_blocks, 5);
  EXPECT_EQ(cache.kv.Table(kA, 1).held_blocks(), 2);
}

TEST(KvWindowTest, ClassesOfDifferentBlockSizesShareTheArena) {
  // Slabs of 4 blocks of 256 or 2 of 512 bytes.
  Cache cache({Windowed(0), Windowed(32, 2)}, 6, 1024, 16);
  cache.kv.Admit(kA, 64);
  cache.Step(kA, 64);
  EXPECT_EQ(cache.arena.free_slabs(), 4) << "33 to 63 are left of the second class";
  cache.kv.Admit(kB, 16);
  cache.Step(kB, 16);
  std::set<int32_t> starts;
  for (size_t c = 0; c < 2; ++c) {
    const KvClassCache& own = cache.kv.cache_class(c);
    std::vector<BlockId> blocks = cache.kv.Table(kA, c).blocks;
    blocks.push_back(cache.kv.Table(kB, c).blocks[0]);
    for (BlockId block : blocks) {
      if (block == kNoBlock) continue;
      const uint32_t per_slab = own.blocks_per_slab();
      const uint32_t unit = own.slab_units()[block.value() / per_slab] +
                            block.value() % per_slab * own.units_per_block();
      for (uint32_t u = 0; u < own.units_per_block(); ++u) {
        EXPECT_TRUE(starts.insert(static_cast<int32_t>(unit + u)).second) << "blocks overlap";
      }
    }
  }
  for (SequenceId sequence : {kA, kB}) cache.kv.Free(sequence, StepId(cache.step));
  EXPECT_EQ(cache.arena.free_slabs(), 6);
}

TEST(KvWindowTest, AnAdmissionCountsEveryClass) {
  // 100 tokens take 7 blocks in the first class and at most 4 in the second, in slabs of one block.
  Cache cache({Windowed(0), Windowed(32)}, 12, kSmallBlockBytes, 16);
  EXPECT_EQ(cache.kv.PromiseFor(100)[0], 7);
  EXPECT_EQ(cache.kv.PromiseFor(100)[1], 4);
  EXPECT_EQ(cache.kv.LongestSequence(1000), 128);
  cache.kv.Admit(kA, 100);
  KvBudget budget = cache.kv.Budget();
  EXPECT_FALSE(budget.TryTake(cache.kv.PromiseFor(1)));
  EXPECT_DEATH(cache.kv.Admit(kB, 1), "admission beyond the KV budget");
}

TEST(KvWindowDeathTest, OnlyWhatIsComputedCanBePassed) {
  Cache cache({Windowed(20)}, 8, kSmallBlockBytes, 16);
  cache.kv.Admit(kA, 100);
  cache.Step(kA, 40);
  EXPECT_DEATH(cache.kv.Pass(kA, 41), "41 of 40");
}

}  // namespace
}  // namespace quire
