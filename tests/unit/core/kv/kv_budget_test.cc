#include "core/kv/kv_budget.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(KvBudgetTest, GivesWhatItHasAndNotMore) {
  KvBudget budget{.classes = {}, .num_classes = 1, .total_slabs = 5};
  EXPECT_TRUE(budget.TryTake({3}));
  EXPECT_FALSE(budget.TryTake({3}));
  EXPECT_EQ(budget.FreeSlabs(), 2) << "a refusal takes nothing";
  EXPECT_TRUE(budget.TryTake({2}));
  EXPECT_TRUE(budget.TryTake({0}));
  EXPECT_FALSE(budget.TryTake({1}));
}

TEST(KvBudgetTest, APartOfASlabCountsAsAWholeOne) {
  KvBudget budget{.classes = {}, .num_classes = 2, .total_slabs = 3};
  budget.classes[0].blocks_per_slab = 4;
  budget.classes[1].blocks_per_slab = 2;
  EXPECT_TRUE(budget.TryTake({4, 1}));
  EXPECT_EQ(budget.FreeSlabs(), 1);
  EXPECT_FALSE(budget.TryTake({1, 2})) << "a slab more for each class";
  EXPECT_TRUE(budget.TryTake({4, 1})) << "the second class has half a slab left";
  EXPECT_EQ(budget.FreeSlabs(), 0);
  EXPECT_FALSE(budget.TryTake({0, 1}));
}

TEST(KvBudgetTest, AClassKeepsTheSlabsThatItsBlocksAreScatteredOver) {
  KvBudget budget{.classes = {}, .num_classes = 2, .total_slabs = 4};
  budget.classes[0] = {.spoken_for = 3, .claimed_slabs = 3, .blocks_per_slab = 8};
  budget.classes[1].blocks_per_slab = 8;
  EXPECT_FALSE(budget.TryTake({0, 9}));
  EXPECT_TRUE(budget.TryTake({21, 8})) << "what is scattered can be filled up";
  EXPECT_FALSE(budget.TryTake({1, 0}));
}

TEST(KvBudgetTest, WhatFloorsProtectIsNotThereForOthers) {
  KvBudget budget{.classes = {}, .num_classes = 1, .total_slabs = 4};
  budget.classes[0] = {
      .spoken_for = 2, .protected_blocks = 3, .blocks_per_slab = 2, .block_bytes = 256};
  EXPECT_EQ(budget.FreeBytes(), 3 * 256);
  EXPECT_EQ(budget.PassingFloors().FreeBytes(), 6 * 256);
  EXPECT_FALSE(KvBudget(budget).TryTake({4}));
  EXPECT_TRUE(budget.PassingFloors().TryTake({6}));
  EXPECT_TRUE(budget.TryTake({3}));
  EXPECT_EQ(budget.FreeBytes(), 0);
}

}  // namespace
}  // namespace quire
