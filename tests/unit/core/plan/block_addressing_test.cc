#include <array>

#include "core/plan/step_plan.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(BlockAddressingTest, BlocksOfASlabFollowEachOther) {
  const std::array<uint32_t, 1> slabs = {0};
  const BlockAddressing addressing{.units_per_block = 6, .blocks_per_slab = 4, .slab_units = slabs};
  for (uint32_t b = 0; b < 4; ++b) EXPECT_EQ(addressing.OffsetUnits(BlockId(b)), b * 6);
}

TEST(BlockAddressingTest, SlabsNeedNotBeNeighboursNorInOrder) {
  const std::array<uint32_t, 3> slabs = {300, 0, 100};
  const BlockAddressing addressing{
      .units_per_block = 10, .blocks_per_slab = 2, .slab_units = slabs};
  const uint32_t expected[] = {300, 310, 0, 10, 100, 110};
  for (uint32_t b = 0; b < 6; ++b) EXPECT_EQ(addressing.OffsetUnits(BlockId(b)), expected[b]);
}

TEST(BlockAddressingTest, ReachesTheLastUnitOfAnArenaOfOneTebibyte) {
  const std::array<uint32_t, 2> slabs = {0, UINT32_MAX - 7};
  const BlockAddressing addressing{.units_per_block = 8, .blocks_per_slab = 1, .slab_units = slabs};
  EXPECT_EQ(addressing.OffsetUnits(BlockId(1)), UINT32_MAX - 7);
}

}  // namespace
}  // namespace quire
