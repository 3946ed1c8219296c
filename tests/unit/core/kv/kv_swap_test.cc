#include <cstring>
#include <string>

#include "core/kv/kv_cache_manager.h"
#include "gmock/gmock.h"
#include "tests/unit/core/kv/swap_fixture.h"

namespace quire {
namespace {

using ::testing::IsEmpty;

constexpr SequenceId kA(1), kB(2);
constexpr size_t kBlockBytes = 256;

// Eight blocks on the device and `slots` on the host, one block a slab; copies run when somebody
// waits for them.
struct SwapCache {
  explicit SwapCache(size_t slots = 8, int32_t window = 0)
      : gpu({SwapLayout(16, window)}, 8 * kBlockBytes,
            {.host_bytes = slots * kBlockBytes, .max_bytes_under_way = 2 * kBlockBytes}),
        arena(8 * kBlockBytes, kBlockBytes),
        kv({SwapLayout(16, window)}, &arena, 16) {
    kv.SetSwapper(gpu.TakeSwapper());
  }
  ~SwapCache() { EXPECT_THAT(kv.CheckInvariants(), IsEmpty()); }

  void Start(SequenceId sequence, int64_t max_tokens, int64_t tokens) {
    kv.Admit(sequence, max_tokens);
    Grow(sequence, tokens);
  }
  void Grow(SequenceId sequence, int64_t tokens) {
    const KvNeed need{sequence, tokens};
    kv.Reserve({&need, 1}).Commit();
  }
  void EndTransfers() {
    while (kv.WaitForTransfer()) continue;
  }
  KvClassSnapshot Blocks() const { return kv.Snapshot().classes[0]; }
  bool HostIsFree() const { return kv.swapper()->host().AllFree(); }

  SwapGpu gpu;
  SlabArena arena;
  KvCacheManager kv;
};

TEST(KvSwapTest, ASequenceThatIsOutHoldsNoBlocksAndNoPromise) {
  SwapCache cache;
  cache.Start(kA, 64, 40);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 4);
  cache.kv.StepCompleted(StepId(1));
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  EXPECT_EQ(cache.Blocks().active_blocks, 0);
  EXPECT_EQ(cache.Blocks().promised_blocks, 0);
  EXPECT_EQ(cache.Blocks().filled_slots, 0);
  EXPECT_EQ(cache.Blocks().fenced_blocks, 3) << "until they are copied";
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 5);
  EXPECT_EQ(cache.kv.swapper()->host().num_held(0), 3);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
  cache.EndTransfers();
  EXPECT_EQ(cache.Blocks().free_blocks, 8);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 8);
  EXPECT_EQ(cache.kv.SwappedPromise(kA)[0], 4);
  EXPECT_FALSE(cache.kv.WaitForTransfer());
}

TEST(KvSwapTest, BlocksAreFreeWhenBothTheStepAndTheCopyAreOver) {
  SwapCache cache;
  cache.Start(kA, 16, 16);
  cache.Start(kB, 16, 16);
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.EndTransfers();
  EXPECT_EQ(cache.Blocks().fenced_blocks, 1) << "step 1 is not known to have completed";
  cache.kv.Free(kB, StepId(2));
  cache.kv.StepCompleted(StepId(1));
  EXPECT_EQ(cache.Blocks().fenced_blocks, 1) << "B's, fenced by a later step";
  cache.kv.StepCompleted(StepId(2));
  EXPECT_EQ(cache.Blocks().free_blocks, 8);
}

TEST(KvSwapTest, ComesBackToOtherBlocksWithItsPromise) {
  SwapCache cache;
  cache.Start(kA, 64, 40);
  cache.kv.StepCompleted(StepId(1));
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.Start(kB, 16, 16);  // while the copies are on their way
  cache.EndTransfers();
  cache.kv.SwapIn(kA);
  EXPECT_EQ(cache.kv.Table(kA).blocks.size(), 3u);
  EXPECT_EQ(cache.kv.Table(kA).promised_blocks, 4);
  EXPECT_EQ(cache.Blocks().active_blocks, 4);
  EXPECT_EQ(cache.Blocks().filled_slots, 56);
  EXPECT_EQ(cache.kv.Budget().FreeSlabs(), 3);
  EXPECT_FALSE(cache.kv.HasArrived(kA));
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
  cache.EndTransfers();
  EXPECT_TRUE(cache.kv.HasArrived(kA));
  EXPECT_TRUE(cache.HostIsFree());
  cache.Grow(kA, 64);
  cache.kv.Free(kA, StepId(1));
  cache.kv.Free(kB, StepId(1));
  EXPECT_EQ(cache.Blocks().free_blocks, 8);
}

TEST(KvSwapTest, AStepMakesComputeWaitForWhatHasNotArrived) {
  SwapCache cache;
  kernels::Device& device = cache.gpu.device();
  kernels::HostBuffer host = cache.gpu.HostMemory(2 * kBlockBytes);
  cache.Start(kA, 32, 16);
  const auto data = [&] {
    const size_t offset = cache.kv.cache_class(0).OffsetOf(cache.kv.Table(kA).blocks[0]);
    return cache.gpu.arena() + offset;
  };
  std::memset(host.data(), 7, kBlockBytes);
  device.CopyToDevice(data(), host.data(), kBlockBytes);
  cache.kv.StepCompleted(StepId(1));
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.EndTransfers();
  cache.Start(kB, 16, 16);  // takes the block that A had
  cache.kv.SwapIn(kA);
  cache.Grow(kA, 32);
  std::byte* const read = host.data() + kBlockBytes;
  device.CopyToHost(read, data(), kBlockBytes);
  device.RecordEvent()->Wait();
  EXPECT_EQ(std::memcmp(host.data(), read, kBlockBytes), 0);
}

TEST(KvSwapTest, WithoutRoomOnTheHostNothingChanges) {
  SwapCache cache(/*slots=*/2);
  cache.Start(kA, 48, 40);
  EXPECT_FALSE(cache.kv.SwapOut(kA, StepId(1)));
  EXPECT_EQ(cache.Blocks().active_blocks, 3);
  cache.Start(kB, 32, 32);
  EXPECT_TRUE(cache.kv.SwapOut(kB, StepId(2)));
}

TEST(KvSwapTest, ASequenceThatHasNotArrivedStays) {
  SwapCache cache;
  cache.Start(kA, 16, 16);
  cache.kv.StepCompleted(StepId(1));
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.kv.SwapIn(kA);
  EXPECT_FALSE(cache.kv.SwapOut(kA, StepId(1)));
  cache.EndTransfers();
  EXPECT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
}

// Four blocks, of which two are under way.
TEST(KvSwapTest, EndingWhileOnTheWayOutFreesEverythingOnce) {
  SwapCache cache;
  cache.Start(kA, 64, 64);
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.kv.Free(kA, StepId(1));
  EXPECT_EQ(cache.Blocks().fenced_blocks, 4);
  EXPECT_FALSE(cache.HostIsFree());
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
  cache.kv.StepCompleted(StepId(1));
  EXPECT_EQ(cache.Blocks().fenced_blocks, 2) << "those that are being read";
  cache.EndTransfers();
  EXPECT_EQ(cache.Blocks().free_blocks, 8);
  EXPECT_TRUE(cache.HostIsFree());
}

TEST(KvSwapTest, EndingWhileOnTheWayInFreesEverythingOnce) {
  for (const bool launched : {false, true}) {
    SwapCache cache;
    cache.Start(kA, 80, 64);
    cache.kv.StepCompleted(StepId(1));
    ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
    cache.EndTransfers();
    cache.kv.SwapIn(kA);
    if (launched) cache.Grow(kA, 80);
    cache.kv.Free(kA, StepId(launched ? 2 : 1));
    EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
    EXPECT_EQ(cache.Blocks().fenced_blocks, launched ? 5 : 2);
    EXPECT_FALSE(cache.HostIsFree());
    cache.kv.StepCompleted(StepId(launched ? 2 : 1));
    cache.EndTransfers();
    EXPECT_EQ(cache.Blocks().free_blocks, 8) << launched;
    EXPECT_TRUE(cache.HostIsFree());
  }
}

TEST(KvSwapTest, EndingOnTheHostFreesItsSlots) {
  SwapCache cache;
  cache.Start(kA, 64, 64);
  cache.kv.StepCompleted(StepId(1));
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.EndTransfers();
  cache.kv.Free(kA, StepId(1));
  EXPECT_TRUE(cache.HostIsFree());
  EXPECT_EQ(cache.Blocks().free_blocks, 8);
}

TEST(KvSwapTest, WhatAWindowPassesWhileItIsOutDoesNotComeBack) {
  SwapCache cache(8, /*window=*/17);
  cache.Start(kA, 128, 48);
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  EXPECT_EQ(cache.kv.swapper()->host().num_held(0), 3);
  cache.kv.StepCompleted(StepId(1));
  cache.kv.Pass(kA, 48);
  EXPECT_EQ(cache.kv.swapper()->host().num_held(0), 1);
  EXPECT_THAT(cache.kv.CheckInvariants(), IsEmpty());
  cache.EndTransfers();
  cache.kv.SwapIn(kA);
  EXPECT_EQ(cache.kv.Table(kA).passed_blocks, 2);
  EXPECT_EQ(cache.kv.Table(kA).held_blocks(), 1);
  EXPECT_EQ(cache.Blocks().filled_slots, 16);
  cache.Grow(kA, 64);
  cache.kv.StepCompleted(StepId(2));
  cache.kv.Pass(kA, 64);
  EXPECT_EQ(cache.kv.Table(kA).passed_blocks, 3);
}

TEST(KvSwapTest, WhoWaitsForACopySeesThoseThatWereCalledOff) {
  SwapCache cache(8, /*window=*/17);
  cache.Start(kA, 16, 16);
  cache.Start(kB, 48, 48);
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  ASSERT_TRUE(cache.kv.SwapOut(kB, StepId(1)));
  cache.kv.StepCompleted(StepId(1));
  cache.kv.Pass(kB, 48);  // of three copies two have not begun
  EXPECT_EQ(cache.Blocks().fenced_blocks, 4);
  EXPECT_TRUE(cache.kv.WaitForTransfer());
  EXPECT_LE(cache.Blocks().fenced_blocks, 3) << "without a wait";
  cache.EndTransfers();
  EXPECT_EQ(cache.Blocks().free_blocks, 8);
}

TEST(KvSwapDeathTest, ContractsThatBindTheCaller) {
  SwapCache cache;
  cache.Start(kA, 64, 64);
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  EXPECT_DEATH((void)cache.kv.Table(kA), "sequence 1 holds no KV");
  EXPECT_DEATH(cache.kv.Admit(kA, 16), "sequence 1 is admitted already");
  EXPECT_DEATH(cache.kv.SwapIn(kA), "step 1 still names sequence 1");
  EXPECT_DEATH(cache.kv.SwapIn(kB), "sequence 2 is not swapped out");
  cache.kv.StepCompleted(StepId(1));
  cache.EndTransfers();
  cache.kv.Admit(kB, 80);
  EXPECT_DEATH(cache.kv.SwapIn(kA), "a swap-in beyond the KV budget");
  SlabArena arena(1024, 256);
  KvCacheManager without({SwapLayout()}, &arena, 16);
  without.Admit(kA, 16);
  EXPECT_FALSE(without.CanSwap());
  EXPECT_FALSE(without.WaitForTransfer());
  EXPECT_DEATH((void)without.SwapOut(kA, StepId(0)), "nothing swaps");
}

class KvSwapPrefixTest : public ::testing::Test {
 protected:
  KvSwapPrefixTest() {
    EXPECT_TRUE(cache_.kv.EnablePrefixCache());
    Compute(kA);
    cache_.kv.StepCompleted(StepId(1));
  }
  void Compute(SequenceId sequence) {
    cache_.kv.Admit(sequence, 40);
    cache_.kv.SharePrefix(sequence, prompt_, "its own");
    cache_.Grow(sequence, 40);
    cache_.kv.Publish(sequence, prompt_);
  }
  void ComeBack() {
    cache_.EndTransfers();
    cache_.kv.SwapIn(kA);
    cache_.EndTransfers();
    EXPECT_EQ(Found(), 0) << "no step has read it";
    cache_.Grow(kA, 40);
    cache_.kv.Publish(kA, prompt_);
  }
  int64_t Found(const char* salt = "its own") { return cache_.kv.FindPrefix(prompt_, salt); }

  SwapCache cache_;
  const std::vector<TokenId> prompt_ = std::vector<TokenId>(40, 7);
};

TEST_F(KvSwapPrefixTest, OthersFindWhatCameBackUnderTheSameSalt) {
  EXPECT_EQ(Found(), 32);
  ASSERT_TRUE(cache_.kv.SwapOut(kA, StepId(1)));
  EXPECT_EQ(Found(), 0);
  ComeBack();
  EXPECT_EQ(Found(), 32);
  EXPECT_EQ(Found(""), 0);
}

TEST_F(KvSwapPrefixTest, WhatWasFlushedOrForgottenMeanwhileStaysSo) {
  ASSERT_TRUE(cache_.kv.SwapOut(kA, StepId(1)));
  cache_.kv.FlushPrefixes(TenantId(0));
  ComeBack();
  EXPECT_EQ(Found(), 0);
  cache_.kv.Free(kA, StepId(1));
  Compute(kA);
  ASSERT_TRUE(cache_.kv.SwapOut(kA, StepId(1)));
  cache_.kv.ForgetPrefix(kA);
  ComeBack();
  EXPECT_EQ(Found(), 0);
}

TEST_F(KvSwapPrefixTest, WhoBeganWithWhatOthersComputedLeavesItToThem) {
  cache_.kv.Free(kA, StepId(1));
  Compute(kB);
  EXPECT_FALSE(cache_.kv.SwapOut(kB, StepId(1)));
  EXPECT_EQ(Found(), 32);
  cache_.kv.Free(kB, StepId(1));
}

TEST(KvSwapTest, WhatComesBackPushesOutOthersPrefixesForItsTenant) {
  constexpr SequenceId kC(3);
  SwapCache cache;
  ASSERT_TRUE(cache.kv.EnablePrefixCache());
  const std::vector<TokenId> prompt(40, 7), other(96, 8);
  cache.kv.Admit(kA, 40);
  cache.kv.SharePrefix(kA, prompt, "", TenantId(0));
  cache.Grow(kA, 40);
  cache.kv.Publish(kA, prompt);
  cache.kv.Free(kA, StepId(0));
  cache.kv.Admit(kB, 96);
  cache.kv.SharePrefix(kB, other, "", TenantId(1));
  cache.Grow(kB, 96);
  ASSERT_TRUE(cache.kv.SwapOut(kB, StepId(0)));
  cache.EndTransfers();
  cache.Start(kC, 32, 32);
  EXPECT_EQ(cache.Blocks().cached_blocks, 2);
  cache.kv.SwapIn(kB);
  EXPECT_EQ(cache.Blocks().cached_blocks, 0);
  EXPECT_EQ(cache.kv.PrefixUseOf(TenantId(1)).taken_blocks, 2u);
  EXPECT_EQ(cache.kv.PrefixUseOf(TenantId(0)).lost_blocks, 2u);
  cache.EndTransfers();
}

TEST(KvSwapTest, ASequenceThatSharesBlocksStays) {
  SwapCache cache;
  ASSERT_TRUE(cache.kv.EnablePrefixCache());
  const std::vector<TokenId> prompt(40, 7);
  for (const SequenceId sequence : {kA, kB}) {
    cache.kv.Admit(sequence, 40);
    cache.kv.SharePrefix(sequence, prompt, "");
    cache.Grow(sequence, 40);
    cache.kv.Publish(sequence, prompt);
  }
  cache.kv.StepCompleted(StepId(1));
  EXPECT_FALSE(cache.kv.SwapOut(kA, StepId(1)));
  cache.kv.Free(kB, StepId(1));
  EXPECT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.EndTransfers();
  EXPECT_EQ(cache.Blocks().cached_blocks, 0);
  cache.kv.Free(kA, StepId(1));
}

TEST(KvSwapTest, ACopyThatEndsLateIsFencedByItsOwnStepAlone) {
  SwapCache cache;
  cache.Start(kA, 16, 16);
  cache.Start(kB, 16, 16);
  ASSERT_TRUE(cache.kv.SwapOut(kA, StepId(1)));
  cache.kv.Free(kB, StepId(2));
  cache.EndTransfers();
  EXPECT_EQ(cache.Blocks().fenced_blocks, 2);
  cache.kv.StepCompleted(StepId(1));
  EXPECT_EQ(cache.Blocks().fenced_blocks, 1) << "B's, by a later step that was known of before";
  cache.kv.StepCompleted(StepId(2));
  EXPECT_EQ(cache.Blocks().free_blocks, 8);
}

}  // namespace
}  // namespace quire
