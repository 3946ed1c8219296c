#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/kv/small_kv_cache.h"

// Promises that grow while a sequence runs, and what can be told before anything is taken.

namespace quire {
namespace {

using ::testing::IsEmpty;

constexpr SequenceId kA(1), kB(2);
constexpr int64_t kBlock = kSmallBlockBytes;

std::vector<TokenId> Tokens(size_t count) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

// Two classes: one that keeps everything, and one with a window of 32 tokens and blocks twice as
// large. Slabs hold 4 and 2 blocks.
struct TwoClasses {
  explicit TwoClasses(int32_t slabs)
      : arena(static_cast<size_t>(slabs) * 4 * kSmallBlockBytes, 4 * kSmallBlockBytes),
        kv({SmallLayout(), Windowed()}, &arena, /*in_flight_tokens=*/16) {}

  static KvLayout Windowed() {
    KvLayout layout = SmallLayout();
    layout.window = 32;
    layout.layers.resize(2, layout.layers[0]);
    return layout;
  }

  SlabArena arena;
  KvCacheManager kv;
};

TEST(KvExtendTest, APromiseGrowsByTheBlocksThatAreMissing) {
  SmallKvCache cache(8);
  cache.kv.Admit(kA, 20);  // 2 blocks
  EXPECT_EQ(cache.kv.MorePromised(kA, 32)[0], 0);
  EXPECT_EQ(cache.kv.MorePromised(kA, 33)[0], 1);
  EXPECT_EQ(cache.kv.MorePromised(kA, 80)[0], 3);
  EXPECT_EQ(cache.kv.Budget().FreeBytes(), 6 * kBlock) << "asking takes nothing";
  cache.kv.Extend(kA, 80);
  EXPECT_EQ(cache.kv.Budget().FreeBytes(), 3 * kBlock);
  EXPECT_EQ(cache.kv.MorePromised(kA, 80)[0], 0);
  cache.Grow(kA, 80);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
  cache.kv.Free(kA, StepId(0));
  cache.kv.StepCompleted(StepId(0));
  EXPECT_EQ(cache.kv.Budget().FreeBytes(), 8 * kBlock) << "all of it comes back";
}

TEST(KvExtendTest, APromiseNeverShrinks) {
  SmallKvCache cache(8);
  cache.kv.Admit(kA, 64);
  cache.kv.Extend(kA, 16);
  EXPECT_EQ(cache.kv.Budget().FreeBytes(), 4 * kBlock);
  cache.Grow(kA, 64);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
}

TEST(KvExtendDeathTest, NeitherBeyondTheBudgetNorWithoutAnAdmission) {
  SmallKvCache cache(4);
  cache.kv.Admit(kA, 32);
  cache.kv.Admit(kB, 16);
  EXPECT_DEATH(cache.kv.Extend(kA, 64), "beyond the KV budget");
  EXPECT_DEATH(cache.Grow(kA, 33), "beyond its promise");
  EXPECT_DEATH(cache.kv.Extend(SequenceId(9), 16), "holds no KV");
  cache.kv.Extend(kA, 48);
}

TEST(KvExtendTest, AWindowsPromiseStopsGrowing) {
  TwoClasses cache(8);
  cache.kv.Admit(kA, 16);
  EXPECT_EQ(cache.kv.MorePromised(kA, 32), (KvBlockCounts{1, 1}));
  const KvBlockCounts most = cache.kv.PromiseFor(1000);
  cache.kv.Extend(kA, 160);
  EXPECT_EQ(cache.kv.MorePromised(kA, 176), (KvBlockCounts{1, 0}));
  EXPECT_EQ(cache.kv.PromiseFor(160)[1], most[1]);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
}

TEST(KvExtendTest, BytesAreThoseOfEachClassesBlocks) {
  const SmallKvCache one(8);
  EXPECT_EQ(one.kv.BytesOf({3}), 3 * kBlock);
  EXPECT_EQ(one.kv.TotalBytes(), 8 * kBlock);
  const TwoClasses two(8);
  EXPECT_EQ(two.kv.BytesOf({3, 2}), 3 * kBlock + 2 * 2 * kBlock);
  EXPECT_EQ(two.kv.TotalBytes(), 8 * 4 * kBlock);
}

TEST(KvExtendTest, OfOneClassBlocksAreFreeOfSeveralWholeSlabs) {
  SmallKvCache one(8);
  one.kv.Admit(kA, 16);
  EXPECT_EQ(one.kv.Budget().FreeBytes(), 7 * kBlock);
  EXPECT_EQ(one.kv.TotalBytes(), 8 * kBlock) << "whatever is promised";
  TwoClasses two(8);
  two.kv.Admit(kA, 16);  // a block of each
  EXPECT_EQ(two.kv.Budget().FreeBytes(), 6 * 4 * kBlock);
  EXPECT_EQ(two.kv.TotalBytes(), 8 * 4 * kBlock);
}

TEST(KvExtendTest, OfASlabThatBlocksDoNotFillTheRestCannotBePromised) {
  KvLayout layout = SmallLayout();
  layout.layers.resize(2, layout.layers[0]);
  const size_t slab_bytes = 5 * kSmallBlockBytes;  // 2 blocks and a half
  SlabArena arena(4 * slab_bytes, slab_bytes);
  const KvCacheManager kv({layout}, &arena, 16);
  EXPECT_EQ(kv.TotalBytes(), 8 * 2 * kBlock);
  EXPECT_EQ(kv.Budget().FreeBytes(), 8 * 2 * kBlock);
}

TEST(KvExtendTest, TheBudgetWithoutFencesIsWhatWillBe) {
  SmallKvCache cache(8);
  cache.kv.Admit(kA, 48);
  cache.Grow(kA, 48);
  cache.kv.Free(kA, StepId(1));
  EXPECT_EQ(cache.kv.Budget().FreeBytes(), 5 * kBlock);
  EXPECT_EQ(cache.kv.Budget(/*fenced=*/false).FreeBytes(), 8 * kBlock);
  cache.kv.StepCompleted(StepId(1));
  EXPECT_EQ(cache.kv.Budget().FreeBytes(), 8 * kBlock);
}

TEST(KvExtendTest, FindsWhatSharingWouldFindAndChangesNothing) {
  SmallKvCache cache(10);
  ASSERT_TRUE(cache.kv.EnablePrefixCache());
  EXPECT_EQ(cache.kv.PrefixBlockTokens(), 16);
  cache.kv.Admit(kA, 40);
  cache.kv.SharePrefix(kA, Tokens(40), "s");
  cache.Grow(kA, 40);
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(40), "s"), 0);
  cache.kv.Publish(kA, Tokens(40));
  const KvSnapshot before = cache.kv.Snapshot();
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(40), "s"), 32);
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(100), "s"), 32);
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(33), "s"), 32);
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(32), "s"), 16) << "the last token is computed";
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(0), "s"), 0);
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(40), "t"), 0) << "another scope";
  EXPECT_EQ(cache.kv.Snapshot().prefix_queried_tokens, before.prefix_queried_tokens);
  cache.kv.Admit(kB, 40);
  EXPECT_EQ(cache.kv.SharePrefix(kB, Tokens(40), "s"), 32);
}

TEST(KvExtendTest, PublishedAreTheFullBlocksThatOthersFind) {
  SmallKvCache cache(10);
  ASSERT_TRUE(cache.kv.EnablePrefixCache());
  cache.kv.Admit(kA, 60);
  cache.kv.SharePrefix(kA, Tokens(60), "");
  EXPECT_EQ(cache.kv.PublishedTokens(kA), 0);
  cache.Grow(kA, 40);
  cache.kv.Publish(kA, Tokens(20));
  EXPECT_EQ(cache.kv.PublishedTokens(kA), 16);
  cache.kv.Publish(kA, Tokens(40));
  EXPECT_EQ(cache.kv.PublishedTokens(kA), 32);
  cache.kv.Admit(kB, 60);
  cache.kv.SharePrefix(kB, Tokens(60), "");
  EXPECT_EQ(cache.kv.PublishedTokens(kB), 32) << "what it found others find as well";
}

TEST(KvExtendTest, WithoutAPrefixCacheNothingIsFound) {
  SmallKvCache cache(10);
  cache.kv.Admit(kA, 40);
  cache.kv.SharePrefix(kA, Tokens(40), "");
  cache.Grow(kA, 40);
  cache.kv.Publish(kA, Tokens(40));
  EXPECT_EQ(cache.kv.PrefixBlockTokens(), 0);
  EXPECT_EQ(cache.kv.FindPrefix(Tokens(40), ""), 0);
  EXPECT_EQ(cache.kv.PublishedTokens(kA), 0);
}

}  // namespace
}  // namespace quire
