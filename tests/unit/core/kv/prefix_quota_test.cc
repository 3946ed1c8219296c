#include <algorithm>
#include <iostream>
#include <list>
#include <random>

#include "core/kv/prefix_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"

// Floors and ceilings of what tenants keep in the prefix cache.

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr TenantId kA(0), kB(1);

// Blocks are unused from the beginning; each has tokens of its own.
class PrefixQuotaTest : public ::testing::Test {
 protected:
  void Add(uint32_t block, TenantId owner) {
    const TokenId tokens[] = {static_cast<TokenId>(block)};
    cache_.Insert({PrefixCache::kRoot, "", tokens}, BlockId(block), owner);
    cache_.SetUnused(BlockId(block));
  }
  bool Finds(uint32_t block) {
    const TokenId tokens[] = {static_cast<TokenId>(block)};
    return cache_.Find({PrefixCache::kRoot, "", tokens}).id != PrefixCache::kRoot;
  }

  PrefixCache cache_;
};

TEST_F(PrefixQuotaTest, WhatAFloorProtectsIsGivenUpLast) {
  cache_.SetQuotas({{.floor = 2}, {}});
  for (uint32_t block : {0, 1, 2}) Add(block, kA);
  for (uint32_t block : {3, 4}) Add(block, kB);
  EXPECT_EQ(cache_.protected_blocks(), 2);
  EXPECT_EQ(cache_.EvictOldest(kB), BlockId(0)) << "the oldest, and beyond the floor";
  EXPECT_EQ(cache_.EvictOldest(kB), BlockId(3));
  EXPECT_EQ(cache_.EvictOldest(kB), BlockId(4));
  EXPECT_EQ(cache_.EvictOldest(kB), BlockId(1)) << "nothing else is left";
  EXPECT_EQ(cache_.protected_blocks(), 1);
  EXPECT_EQ(cache_.UseOf(kA).lost, 2u);
  EXPECT_EQ(cache_.UseOf(kB).taken, 2u);
  EXPECT_EQ(cache_.UseOf(kB).lost, 0u) << "what it gives up for itself is not lost";
}

TEST_F(PrefixQuotaTest, BlocksInUseDoNotFillAFloor) {
  cache_.SetQuotas({{.floor = 2}});
  Add(0, kA);
  Add(1, kA);
  EXPECT_EQ(cache_.protected_blocks(), 2);
  cache_.SetUsed(BlockId(0));
  EXPECT_EQ(cache_.protected_blocks(), 1);
  EXPECT_EQ(cache_.floor_blocks(), 2);
}

TEST_F(PrefixQuotaTest, ACeilingGivesUpTheOwnersOldest) {
  cache_.SetQuotas({{.ceiling = 2}, {}});
  for (uint32_t block : {9, 0, 1}) Add(block, kA);
  Add(5, kB);
  EXPECT_EQ(cache_.EvictBeyondCeiling(kA), BlockId(9));
  EXPECT_EQ(cache_.EvictBeyondCeiling(kA), std::nullopt);
  EXPECT_EQ(cache_.EvictBeyondCeiling(kB), std::nullopt);
  EXPECT_FALSE(Finds(9));
}

TEST_F(PrefixQuotaTest, FlushForgetsOneTenantsBlocksOrAll) {
  for (uint32_t block : {0, 1}) Add(block, kA);
  for (uint32_t block : {2, 3}) Add(block, kB);
  cache_.SetUsed(BlockId(1));
  EXPECT_THAT(cache_.Flush(kA), ElementsAre(BlockId(0))) << "only unused blocks are to be freed";
  EXPECT_FALSE(Finds(0) || Finds(1));
  EXPECT_TRUE(Finds(2) && Finds(3));
  EXPECT_THAT(cache_.Flush(std::nullopt), ElementsAre(BlockId(2), BlockId(3)));
  EXPECT_THAT(cache_.Flush(std::nullopt), IsEmpty());
  EXPECT_EQ(cache_.size(), 0);
}

// Against lists that are searched in full.
TEST(PrefixQuotaRandomTest, EvictsAsANaiveModelDoes) {
  for (const uint64_t seed : quire::testing::RandomSeeds(200)) {
    SCOPED_TRACE(::testing::Message() << "replay with QUIRE_TEST_SEED=" << seed);
    std::mt19937_64 rng(seed);
    const auto below = [&rng](uint64_t n) { return static_cast<uint32_t>(rng() % n); };
    PrefixCache cache;
    std::vector<int64_t> floors(4, 0);
    std::list<std::pair<uint32_t, TenantId>> unused;  // the oldest first
    std::vector<std::pair<uint32_t, TenantId>> used;
    const auto count = [&](TenantId owner) {
      return std::count_if(unused.begin(), unused.end(),
                           [&](const auto& block) { return block.second == owner; });
    };
    uint32_t next = 0;
    for (int step = 0; step < 200; ++step) {
      const uint32_t action = below(10);
      if (action == 0) {
        std::vector<PrefixCache::Quota> quotas(4);
        for (size_t i = 0; i < 4; ++i) floors[i] = quotas[i].floor = below(5);
        cache.SetQuotas(quotas);
      } else if (action <= 4) {
        const TokenId tokens[] = {static_cast<TokenId>(next)};
        const TenantId owner(below(4));
        cache.Insert({PrefixCache::kRoot, "", tokens}, BlockId(next), owner);
        used.emplace_back(next++, owner);
      } else if (action <= 7 && !used.empty()) {
        std::swap(used[below(used.size())], used.back());
        unused.push_back(used.back());
        cache.SetUnused(BlockId(used.back().first));
        used.pop_back();
      } else if (action == 8 && !unused.empty()) {
        const auto it = std::next(unused.begin(), below(unused.size()));
        cache.SetUsed(BlockId(it->first));
        used.push_back(*it);
        unused.erase(it);
      } else if (action == 9 && !unused.empty()) {
        auto victim = std::find_if(unused.begin(), unused.end(), [&](const auto& block) {
          return count(block.second) > floors[block.second.value()];
        });
        if (victim == unused.end()) victim = unused.begin();
        ASSERT_EQ(cache.EvictOldest(TenantId(below(4))), BlockId(victim->first));
        unused.erase(victim);
      }
      ASSERT_THAT(cache.CheckInvariants(), IsEmpty());
      int64_t protected_blocks = 0;
      for (uint32_t i = 0; i < 4; ++i) {
        protected_blocks += std::min<int64_t>(count(TenantId(i)), floors[i]);
      }
      ASSERT_EQ(cache.protected_blocks(), protected_blocks);
    }
  }
}

}  // namespace
}  // namespace quire
