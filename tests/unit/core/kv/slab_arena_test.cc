#include "core/kv/slab_arena.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

size_t SlabBytesFor(size_t arena_bytes, size_t block_bytes) {
  return SlabArena::SlabBytesFor(arena_bytes, {&block_bytes, 1});
}

TEST(SlabArenaTest, CutsTheArenaIntoWholeSlabs) {
  EXPECT_EQ(SlabArena(1024, 256).num_slabs(), 4);
  EXPECT_EQ(SlabArena(1279, 256).num_slabs(), 4);
  EXPECT_EQ(SlabArena(255, 256).num_slabs(), 0);
  EXPECT_EQ(SlabArena(1024, 256).free_slabs(), 4);
}

TEST(SlabArenaTest, ClaimsTheLowestFreeSlabUntilNoneIsLeft) {
  SlabArena arena(768, 256);
  EXPECT_EQ(arena.Claim(), 0);
  EXPECT_EQ(arena.Claim(), 1);
  EXPECT_EQ(arena.Claim(), 2);
  EXPECT_EQ(arena.Claim(), std::nullopt);
  EXPECT_EQ(arena.free_slabs(), 0);
}

TEST(SlabArenaTest, AReturnedSlabCanBeClaimedAgain) {
  SlabArena arena(768, 256);
  while (arena.Claim().has_value()) continue;
  arena.Return(1);
  EXPECT_EQ(arena.free_slabs(), 1);
  EXPECT_EQ(arena.Claim(), 1);
  EXPECT_EQ(arena.Claim(), std::nullopt);
}

TEST(SlabArenaTest, SlabsHoldWholeBlocks) {
  const struct {
    const char* what;
    size_t arena, block, slab;
  } cases[] = {
      {"a small arena is one slab", 1024, 256, 1024},
      {"of whole blocks", 1100, 512, 1024},
      {"a large arena has slabs of the largest size", 1024 * kMiB, kMiB, 32 * kMiB},
      {"rounded down to whole blocks", 1024 * kMiB, 5 * kMiB, 30 * kMiB},
      {"just above the largest size are two even slabs", 33 * kMiB, kMiB / 2, 33 * kMiB / 2},
      {"a block above the largest slab is a slab", 1024 * kMiB, 40 * kMiB, 40 * kMiB},
      {"an arena too small for a block has a slab that does not fit it", 256, 512, 512},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    EXPECT_EQ(SlabBytesFor(c.arena, c.block), c.slab);
  }
}

TEST(SlabArenaTest, SeveralBlockSizesGetSlabsThatTheyAllDivideAndEnoughOfThem) {
  const size_t blocks[] = {12 * 1024, 20 * 1024};
  EXPECT_EQ(SlabArena::SlabBytesFor(size_t{4} << 30, blocks) % (60 * 1024), 0u);
  const size_t slab = SlabArena::SlabBytesFor(60 * kMiB, blocks);
  EXPECT_EQ(slab % (60 * 1024), 0u);
  EXPECT_GE(60 * kMiB / slab, 64u);
  EXPECT_EQ(SlabArena::SlabBytesFor(1, blocks), 20u * 1024) << "at least the largest block";
  const size_t odd[] = {256 * 10007, 256 * 10009};
  EXPECT_EQ(SlabArena::SlabBytesFor(size_t{4} << 30, odd) % (256 * 10009), 0u);
}

TEST(SlabArenaTest, CuttingIntoSlabsLosesAboutOneBlockASlab) {
  for (const size_t block : {size_t{256}, size_t{12800}, 3 * kMiB, 7 * kMiB}) {
    for (size_t arena = kMiB; arena < 400 * kMiB; arena += 3 * kMiB + 12345) {
      const size_t slab = SlabBytesFor(arena, block);
      ASSERT_LE(slab, SlabArena::kMaxSlabBytes);
      const auto slabs = static_cast<size_t>(SlabArena(arena, slab).num_slabs());
      ASSERT_GE(slabs * (slab / block) + slabs + 1, arena / block) << arena << " / " << block;
    }
  }
}

TEST(SlabArenaDeathTest, MisuseIsABrokenInvariant) {
  SlabArena arena(768, 256);
  ASSERT_EQ(arena.Claim(), 0);
  EXPECT_DEATH(arena.Return(1), "slab 1 is not claimed");
  EXPECT_DEATH(arena.Return(3), "slab 3 is not claimed");
  EXPECT_DEATH(arena.Return(-1), "slab -1 is not claimed");
  EXPECT_DEATH(SlabArena(1024, 0), "slab_bytes > 0");
  EXPECT_DEATH(SlabArena(1024, 100), "slab_bytes");
  EXPECT_DEATH((void)SlabBytesFor(1024, 0), "block_bytes 0");
  EXPECT_DEATH((void)SlabBytesFor(1024, 300), "block_bytes");
}

}  // namespace
}  // namespace quire
