#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/kv/small_kv_cache.h"

// Sequences that begin with the same tokens name the same blocks.

namespace quire {
namespace {

using ::testing::IsEmpty;

constexpr SequenceId kA(1), kB(2), kC(3);
constexpr StepId kNoStep(0);

std::vector<TokenId> Tokens(int32_t count, TokenId first = 0) {
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

class KvPrefixTest : public ::testing::Test {
 protected:
  explicit KvPrefixTest(int32_t blocks = 10) : cache_(blocks) {
    EXPECT_TRUE(cache_.kv.EnablePrefixCache());
  }
  ~KvPrefixTest() override { EXPECT_THAT(cache_.kv.CheckInvariants(), IsEmpty()); }

  KvCacheManager& kv() { return cache_.kv; }
  KvClassSnapshot Snapshot() { return kv().Snapshot().classes[0]; }
  const std::vector<BlockId>& Blocks(SequenceId sequence) { return kv().Table(sequence).blocks; }

  // Admits a sequence and computes the rest of its prompt; returns what was found.
  int64_t Prefill(SequenceId sequence, const std::vector<TokenId>& prompt,
                  absl::string_view salt = "", int64_t max_tokens = 0) {
    const auto tokens = static_cast<int64_t>(prompt.size());
    kv().Admit(sequence, std::max(tokens, max_tokens));
    const int64_t found = kv().SharePrefix(sequence, prompt, salt);
    cache_.Grow(sequence, tokens);
    kv().Publish(sequence, prompt);
    EXPECT_THAT(kv().CheckInvariants(), IsEmpty());
    return found;
  }

  SmallKvCache cache_;
};

TEST_F(KvPrefixTest, ASecondSequenceNamesTheBlocksOfTheFirst) {
  EXPECT_EQ(Prefill(kA, Tokens(40)), 0);
  EXPECT_EQ(Prefill(kB, Tokens(40)), 32);
  EXPECT_EQ(Blocks(kB)[0], Blocks(kA)[0]);
  EXPECT_EQ(Blocks(kB)[1], Blocks(kA)[1]);
  EXPECT_NE(Blocks(kB)[2], Blocks(kA)[2]) << "it is not full";
  EXPECT_EQ(Snapshot().active_blocks, 4);
  EXPECT_EQ(Snapshot().filled_slots, 32 + 8 + 8) << "shared tokens count once";
  EXPECT_EQ(kv().Snapshot().prefix_queried_tokens, 80u);
  EXPECT_EQ(kv().Snapshot().prefix_hit_tokens, 32u);
}

TEST_F(KvPrefixTest, TheLastTokenOfAPromptIsComputedAgain) {
  Prefill(kA, Tokens(32));
  EXPECT_EQ(Prefill(kB, Tokens(32)), 16);
  EXPECT_EQ(Prefill(kC, Tokens(33)), 32);
}

TEST_F(KvPrefixTest, AnotherSaltFindsNothing) {
  Prefill(kA, Tokens(40), "a");
  EXPECT_EQ(Prefill(kB, Tokens(40), "b"), 0);
  EXPECT_EQ(Prefill(kC, Tokens(40), "a"), 32);
}

TEST_F(KvPrefixTest, OnlyWhatWasPublishedIsFound) {
  kv().Admit(kA, 40);
  kv().SharePrefix(kA, Tokens(40), "");
  cache_.Grow(kA, 40);
  EXPECT_EQ(Prefill(kB, Tokens(40)), 0) << "a step may still be computing it";
  kv().Publish(kA, Tokens(40));
  EXPECT_EQ(Prefill(kC, Tokens(40)), 32);
  EXPECT_EQ(Blocks(kC)[0], Blocks(kB)[0]) << "the first to be published stands";
}

TEST_F(KvPrefixTest, BlocksStayWhenTheirSequenceEndsAndAreFoundAgain) {
  Prefill(kA, Tokens(40));
  const std::vector<BlockId> blocks = Blocks(kA);
  kv().Free(kA, kNoStep);
  EXPECT_EQ(Snapshot().cached_blocks, 2);
  EXPECT_EQ(Snapshot().free_blocks, 8);
  EXPECT_EQ(Snapshot().active_blocks, 0);
  EXPECT_EQ(Prefill(kB, Tokens(33)), 32);
  EXPECT_EQ(Blocks(kB)[0], blocks[0]);
  EXPECT_EQ(Blocks(kB)[1], blocks[1]);
  EXPECT_EQ(Snapshot().cached_blocks, 0);
}

TEST_F(KvPrefixTest, ABlockThatWaitsForAStepCanBeSharedMeanwhile) {
  Prefill(kA, Tokens(40));
  kv().Free(kA, StepId(5));
  EXPECT_EQ(Snapshot().fenced_blocks, 3);
  EXPECT_EQ(Prefill(kB, Tokens(40)), 32);
  EXPECT_EQ(Snapshot().fenced_blocks, 1);
  kv().StepCompleted(StepId(5));
  EXPECT_EQ(Snapshot().active_blocks, 3) << "B's";
  EXPECT_EQ(Snapshot().cached_blocks, 0);
  kv().Free(kB, StepId(5));
  EXPECT_EQ(Snapshot().cached_blocks, 2);
}

// Shared, let go and shared again while one and the same step is on its way.
TEST_F(KvPrefixTest, FencesThatWereLiftedDoNotFreeABlock) {
  Prefill(kA, Tokens(40));
  kv().Free(kA, StepId(5));
  Prefill(kB, Tokens(40));
  kv().Free(kB, StepId(5));
  Prefill(kC, Tokens(40));
  kv().StepCompleted(StepId(5));
  EXPECT_EQ(Snapshot().active_blocks, 3);
  EXPECT_EQ(Snapshot().fenced_blocks, 0);
  EXPECT_THAT(kv().CheckInvariants(), IsEmpty());
  kv().Free(kC, StepId(6));
  kv().StepCompleted(StepId(6));
  EXPECT_EQ(Snapshot().cached_blocks, 2);
}

TEST_F(KvPrefixTest, ASharedBlockWaitsForTheLastStepOfItsLastTable) {
  Prefill(kA, Tokens(40));
  kv().Free(kA, StepId(5));
  Prefill(kB, Tokens(40));
  kv().Free(kB, StepId(7));
  kv().StepCompleted(StepId(5));
  EXPECT_EQ(Snapshot().fenced_blocks, 3) << "step 7 still reads what they share";
  EXPECT_EQ(Snapshot().cached_blocks, 0);
  kv().StepCompleted(StepId(7));
  EXPECT_EQ(Snapshot().cached_blocks, 2);
}

TEST_F(KvPrefixTest, ABlockThatIsLetGoAgainBehindTheSameStepHasOneFence) {
  Prefill(kA, Tokens(33));
  kv().Free(kA, StepId(5));
  kv().Admit(kB, 17);
  EXPECT_EQ(kv().SharePrefix(kB, Tokens(17), ""), 16);
  kv().Free(kB, StepId(5));
  EXPECT_THAT(kv().CheckInvariants(), IsEmpty());
  EXPECT_EQ(Snapshot().fenced_blocks, 3);
  kv().StepCompleted(StepId(5));
  EXPECT_EQ(Snapshot().cached_blocks, 2);
  Prefill(kC, Tokens(9 * 16 - 1, 2000));  // 8 are free
  kv().Free(kC, StepId(5));
  EXPECT_EQ(Prefill(kA, Tokens(33)), 16) << "its second block had been unused for longer";
}

TEST_F(KvPrefixTest, CachedBlocksAreGivenUpForOthersTheDeepestOfTheLongestUnusedFirst) {
  Prefill(kA, Tokens(48));
  kv().Free(kA, kNoStep);
  Prefill(kA, Tokens(48, 1000));
  kv().Free(kA, kNoStep);
  EXPECT_EQ(Snapshot().cached_blocks, 6);
  Prefill(kB, Tokens(5 * 16 - 1, 2000));  // 4 are free
  EXPECT_EQ(Snapshot().cached_blocks, 5);
  EXPECT_EQ(Snapshot().evicted_total, 1u);
  EXPECT_EQ(Prefill(kC, Tokens(49)), 32) << "of the older its third block is gone";
}

TEST_F(KvPrefixTest, APromiseCoversSharedBlocksInFull) {
  Prefill(kA, Tokens(40), "", 96);
  KvBudget budget = kv().Budget();
  EXPECT_FALSE(budget.TryTake(kv().PromiseFor(5 * 16))) << "of 10 blocks, 6 are promised";
  Prefill(kB, Tokens(40), "", 64);
  EXPECT_EQ(Snapshot().promised_blocks, 10 - 3 - 3);
  cache_.Grow(kA, 96);
  cache_.Grow(kB, 64);
}

TEST_F(KvPrefixTest, AnAnswerIsFoundByTheNextTurn) {
  Prefill(kA, Tokens(20), "", 40);
  cache_.Grow(kA, 35);
  kv().Publish(kA, Tokens(35));
  kv().Free(kA, kNoStep);
  EXPECT_EQ(Prefill(kB, Tokens(50)), 32);
}

TEST_F(KvPrefixTest, WhatIsForgottenIsNotFoundNorKept) {
  Prefill(kA, Tokens(40), "", 60);
  Prefill(kB, Tokens(40));
  kv().ForgetPrefix(kA);
  cache_.Grow(kA, 60);
  kv().Publish(kA, Tokens(60));
  EXPECT_EQ(Prefill(kC, Tokens(40)), 0);
  kv().Free(kA, kNoStep);
  kv().Free(kB, kNoStep);
  EXPECT_EQ(Snapshot().cached_blocks, 0);
  kv().Free(kC, kNoStep);
  EXPECT_EQ(Snapshot().cached_blocks, 2);
}

TEST_F(KvPrefixTest, WhatWasBegunBeforeAFlushIsNotFoundAfterIt) {
  kv().Admit(kA, 40);
  kv().SharePrefix(kA, Tokens(40), "");
  cache_.Grow(kA, 10);
  kv().FlushPrefixes(std::nullopt);
  cache_.Grow(kA, 40);
  kv().Publish(kA, Tokens(40));
  EXPECT_EQ(kv().FindPrefix(Tokens(40), ""), 0);
}

TEST_F(KvPrefixTest, AFlushFreesWhatNobodyUses) {
  Prefill(kA, Tokens(40));
  kv().Free(kA, kNoStep);
  ASSERT_EQ(Snapshot().cached_blocks, 2);
  kv().FlushPrefixes(TenantId());
  EXPECT_EQ(Snapshot().free_blocks, Snapshot().total_blocks);
  EXPECT_EQ(kv().FindPrefix(Tokens(40), ""), 0);
}

TEST_F(KvPrefixTest, AReservationThatDiesLeavesTheSharedBlocks) {
  Prefill(kA, Tokens(40));
  kv().Admit(kB, 40);
  ASSERT_EQ(kv().SharePrefix(kB, Tokens(40), ""), 32);
  {
    const KvNeed need{kB, 40};
    const KvReservation reservation = kv().Reserve({&need, 1});
  }
  EXPECT_EQ(Blocks(kB).size(), 2u);
  EXPECT_THAT(kv().CheckInvariants(), IsEmpty());
  kv().Free(kB, kNoStep);
  EXPECT_EQ(Snapshot().active_blocks, 3);
}

TEST(KvPrefixOffTest, NothingIsFoundUntilItIsOn) {
  SmallKvCache cache(10);
  for (const SequenceId sequence : {kA, kB}) {
    cache.kv.Admit(sequence, 40);
    EXPECT_EQ(cache.kv.SharePrefix(sequence, Tokens(40), ""), 0);
    cache.Grow(sequence, 40);
    cache.kv.Publish(sequence, Tokens(40));
    cache.kv.Free(sequence, kNoStep);
    EXPECT_TRUE(cache.kv.Snapshot().AllFree());
    EXPECT_EQ(cache.kv.Snapshot().classes[0].cached_blocks, 0);
  }
}

TEST(KvPrefixOffTest, AModelWithAWindowHasNone) {
  KvLayout layout = SmallLayout();
  layout.window = 64;
  SlabArena arena(10 * kSmallBlockBytes, kSmallBlockBytes);
  KvCacheManager kv({layout}, &arena, 16);
  EXPECT_FALSE(kv.EnablePrefixCache());
}

TEST_F(KvPrefixTest, BeyondItsCeilingATenantsBlocksGoWhenItLetsGoOfThem) {
  const PrefixQuota quotas[] = {{.floor_bytes = 0, .ceiling_bytes = 2 * 256}};
  kv().SetPrefixQuotas(quotas);
  Prefill(kA, Tokens(64));
  EXPECT_EQ(Snapshot().active_blocks, 4) << "what is used may be more";
  kv().Free(kA, kNoStep);
  EXPECT_EQ(Snapshot().cached_blocks, 2);
  EXPECT_EQ(kv().FindPrefix(Tokens(64), ""), 32) << "the deepest went";
}

}  // namespace
}  // namespace quire
