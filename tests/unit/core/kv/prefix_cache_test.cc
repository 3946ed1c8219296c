#include "core/kv/prefix_cache.h"

#include <map>
#include <random>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"

namespace quire {
namespace {

using ::testing::IsEmpty;
using Key = PrefixCache::Key;
using Tokens = std::vector<TokenId>;

constexpr PrefixCache::NodeId kRoot = PrefixCache::kRoot;

TEST(PrefixCacheTest, ABlockIsFoundByItsTokensAndThoseBeforeIt) {
  PrefixCache cache;
  const Tokens a = {1, 2}, b = {3, 4};
  const auto first = cache.Insert({kRoot, "", a}, BlockId(5));
  const auto second = cache.Insert({first, "", b}, BlockId(6));
  EXPECT_EQ(cache.Find({kRoot, "", a}).block, BlockId(5));
  EXPECT_EQ(cache.Find({first, "", b}).id, second);
  EXPECT_EQ(cache.Find({kRoot, "", b}).id, kRoot) << "not at the beginning";
  EXPECT_EQ(cache.Find({second, "", a}).id, kRoot);
  const Tokens longer = {1, 2, 3};
  EXPECT_EQ(cache.Find({kRoot, "", longer}).id, kRoot);
}

TEST(PrefixCacheTest, ScopesShareNothing) {
  PrefixCache cache;
  const Tokens a = {1, 2};
  cache.Insert({kRoot, "theirs", a}, BlockId(1));
  EXPECT_EQ(cache.Find({kRoot, "", a}).id, kRoot);
  EXPECT_EQ(cache.Find({kRoot, "their", a}).id, kRoot);
  cache.Insert({kRoot, "ours", a}, BlockId(2));
  EXPECT_EQ(cache.Find({kRoot, "ours", a}).block, BlockId(2));
  EXPECT_EQ(cache.Find({kRoot, "theirs", a}).block, BlockId(1));
}

TEST(PrefixCacheTest, WhatHangsBehindABlockThatIsGoneIsNotFoundBehindItsSuccessor) {
  PrefixCache cache;
  const Tokens a = {1, 2}, b = {3, 4};
  const auto old = cache.Insert({kRoot, "", a}, BlockId(0));
  cache.Insert({old, "", b}, BlockId(1));
  cache.Erase(BlockId(0));
  const Tokens other = {9, 9};
  const auto next = cache.Insert({kRoot, "", other}, BlockId(0));
  EXPECT_NE(next, old);
  EXPECT_EQ(cache.Find({next, "", b}).id, kRoot);
  EXPECT_THAT(cache.CheckInvariants(), IsEmpty());
}

TEST(PrefixCacheTest, TheLongestUnusedBlockGoesFirst) {
  PrefixCache cache;
  const Tokens a = {1}, b = {2}, c = {3};
  cache.Insert({kRoot, "", a}, BlockId(0));
  cache.Insert({kRoot, "", b}, BlockId(1));
  cache.Insert({kRoot, "", c}, BlockId(2));
  for (uint32_t block : {2u, 0u, 1u}) cache.SetUnused(BlockId(block));
  cache.SetUsed(BlockId(2));
  cache.SetUnused(BlockId(2));
  EXPECT_THAT(cache.CheckInvariants(), IsEmpty());
  EXPECT_EQ(cache.EvictOldest(), BlockId(0));
  EXPECT_EQ(cache.EvictOldest(), BlockId(1));
  EXPECT_EQ(cache.Find({kRoot, "", b}).id, kRoot);
  EXPECT_EQ(cache.EvictOldest(), BlockId(2));
  EXPECT_EQ(cache.size(), 0);
}

TEST(PrefixCacheTest, MisuseIsABrokenInvariant) {
  PrefixCache cache;
  const Tokens a = {1};
  cache.Insert({kRoot, "", a}, BlockId(3));
  EXPECT_DEATH(cache.Insert({kRoot, "", a}, BlockId(3)), "block 3 is cached already");
  EXPECT_DEATH(cache.Erase(BlockId(1)), "block 1 is not cached");
  EXPECT_DEATH(cache.EvictOldest(), "no block is unused");
  EXPECT_DEATH(cache.Insert({7, "scope", a}, BlockId(1)), "first block");
}

// Against a map, with hashes of which many collide. Replay one seed with QUIRE_TEST_SEED.
TEST(PrefixCacheTest, AgreesWithAMapWhateverTheHash) {
  using Content = std::tuple<PrefixCache::NodeId, std::string, Tokens>;
  const PrefixCache::HashFunction hashes[] = {
      &PrefixCache::Hash, [](const Key&) -> uint64_t { return 7; },
      [](const Key& key) -> uint64_t { return key.tokens[0] % 2; }};
  for (const auto hash : hashes) {
    for (uint64_t seed : testing::RandomSeeds(20)) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed);
      std::mt19937 random(static_cast<uint32_t>(seed));
      const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
      PrefixCache cache(hash);
      std::map<Content, PrefixCache::Node> model;
      std::map<BlockId, Content> by_block;
      std::vector<BlockId> unused;
      std::vector<PrefixCache::NodeId> ids = {kRoot};
      for (int i = 0; i < 400; ++i) {
        const Tokens tokens = {static_cast<TokenId>(below(3)), static_cast<TokenId>(below(2))};
        const PrefixCache::NodeId parent = ids[below(static_cast<uint32_t>(ids.size()))];
        const std::string scope = parent == kRoot && below(2) == 0 ? "s" : "";
        const Content content = {parent, scope, tokens};
        const PrefixCache::Node found = cache.Find({parent, scope, tokens});
        const auto known = model.find(content);
        ASSERT_EQ(found.id, known == model.end() ? kRoot : known->second.id);
        const BlockId block(below(30));
        if (found.id == kRoot && !by_block.contains(block)) {
          const auto id = cache.Insert({parent, scope, tokens}, block);
          model[content] = {id, block};
          by_block[block] = content;
          ids.push_back(id);
        } else if (found.id != kRoot) {
          ASSERT_EQ(found.block, known->second.block);
          const auto place = std::find(unused.begin(), unused.end(), found.block);
          if (place != unused.end()) {
            cache.SetUsed(found.block);
            unused.erase(place);
          } else if (below(2) == 0) {
            cache.SetUnused(found.block);
            unused.push_back(found.block);
          } else {
            cache.Erase(found.block);
            by_block.erase(found.block);
            model.erase(content);
          }
        }
        if (below(4) == 0 && !unused.empty()) {
          ASSERT_EQ(cache.EvictOldest(), unused.front());
          model.erase(by_block.at(unused.front()));
          by_block.erase(unused.front());
          unused.erase(unused.begin());
        }
        ASSERT_THAT(cache.CheckInvariants(), IsEmpty());
        ASSERT_EQ(cache.size(), static_cast<int64_t>(model.size()));
      }
    }
  }
}

}  // namespace
}  // namespace quire
