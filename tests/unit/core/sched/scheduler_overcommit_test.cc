#include <algorithm>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/sched/scheduler_fixture.h"

// Promises that grow with their sequences, and who is preempted where memory runs out.

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SchedulerOptions Overcommit(int32_t max_preemptions = 4) {
  return {.max_step_tokens = 256,
          .max_running_sequences = 16,
          .overcommit = true,
          .max_preemptions = max_preemptions};
}

// Steps until somebody was preempted; returns how many of each tenant.
std::vector<int> StepUntilPreempted(SchedulerFixture* f) {
  for (int i = 0; i < 1000; ++i) {
    f->Step();
    std::vector<int> preempted = f->TakePreempted();
    if (std::ranges::any_of(preempted, [](int n) { return n > 0; })) return preempted;
  }
  ADD_FAILURE() << "nobody was preempted";
  return {};
}

TEST(SchedulerOvercommitTest, StartsWithWhatItKnowsAndIsExtendedBlockByBlock) {
  SchedulerFixture f(Overcommit(), 8);
  const SequenceId a = f.Enqueue(20, 100);  // 8 blocks in the end
  f.Step();                                 // 21 tokens are known
  EXPECT_EQ(f.Load(0).kv_bytes, 2 * kBlockBytes);
  while (f.Find(a)->launched() < 32) f.Step();
  EXPECT_EQ(f.Load(0).kv_bytes, 2 * kBlockBytes);
  f.Step();
  EXPECT_EQ(f.Load(0).kv_bytes, 3 * kBlockBytes);
  while (f.Find(a) != nullptr) ASSERT_FALSE(f.Step().empty());
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0));
}

TEST(SchedulerOvercommitTest, IsNeverPromisedMoreThanItCanNeed) {
  SchedulerFixture f(Overcommit(), 8);
  f.Enqueue(16, 1);  // 16 positions
  f.Admit();
  EXPECT_EQ(f.Load(0).kv_bytes, kBlockBytes);
}

TEST(SchedulerOvercommitTest, AdmissionLeavesEachRunningSequenceABlock) {
  SchedulerFixture f(Overcommit(), 4);
  const SequenceId a = f.Enqueue(20, 40);  // 2 blocks
  const SequenceId b = f.Enqueue(20, 40);  // would fit, and leave none
  const SequenceId c = f.Enqueue(4, 4);
  EXPECT_THAT(f.Admit(), ElementsAre(a));
  f.Release(b);
  EXPECT_THAT(f.Admit(), ElementsAre(c));
  SchedulerFixture alone(Overcommit(), 4);
  const SequenceId d = alone.Enqueue(60, 4);
  EXPECT_THAT(alone.Admit(), ElementsAre(d)) << "the only one needs to leave nothing";
}

TEST(SchedulerOvercommitTest, TheNewestMakesRoom) {
  SchedulerFixture f(Overcommit(), 8);
  const SequenceId a = f.Enqueue(20, 60), b = f.Enqueue(20, 60), c = f.Enqueue(4, 60);
  f.Admit();
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(1));
  EXPECT_TRUE(f.Runs(a));
  EXPECT_TRUE(f.Runs(b));
  EXPECT_EQ(f.Find(c), nullptr);
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(1));
  EXPECT_TRUE(f.Runs(a));
  EXPECT_EQ(f.Find(b), nullptr) << "it is the newest now";
  while (f.scheduler().num_running() + f.scheduler().num_waiting() > 0) {
    ASSERT_FALSE(f.Step().empty());
  }
}

TEST(SchedulerOvercommitTest, WithAStepOnItsWayOneVictimIsEnough) {
  SchedulerFixture f(Overcommit(), 4);
  const SequenceId a = f.Enqueue(16, 40), b = f.Enqueue(4, 40), c = f.Enqueue(4, 40);
  f.Admit();
  EXPECT_FALSE(f.Runs(c));
  while (f.Find(a)->launched() < 32 && f.Find(b) != nullptr) f.Step();
  EXPECT_EQ(f.FreeBlocks(), 0);
  const StepPlan plan = f.Launch();
  ASSERT_FALSE(plan.empty());
  f.scheduler().MakeRoom(plan.id);
  EXPECT_THAT(f.TakePreempted(), ElementsAre(1));
  f.scheduler().MakeRoom(plan.id);
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0)) << "the blocks are on their way";
  EXPECT_TRUE(f.Runs(a));
}

TEST(SchedulerOvercommitTest, WhileStepsAreOnTheirWayOthersKeepWhatTheyHave) {
  SchedulerFixture f(Overcommit(), 6);
  const SequenceId a = f.Enqueue(16, 40), b = f.Enqueue(4, 40), c = f.Enqueue(4, 40);
  f.Admit();
  ASSERT_TRUE(f.Runs(c));
  while (f.Find(a)->launched() < 32) ASSERT_FALSE(f.Step().empty());
  EXPECT_EQ(f.FreeBlocks(), 0);
  const StepPlan plan = f.Launch();
  f.scheduler().MakeRoom(plan.id);
  EXPECT_THAT(f.TakePreempted(), ElementsAre(1));
  EXPECT_TRUE(f.Runs(b)) << "what c had is enough, once the step has completed";
}

// It starts with a promise of everything, so at its tenant's limit the older one waits.
TEST(SchedulerOvercommitTest, PreemptedOftenEnoughItIsSpared) {
  SchedulerFixture f(Overcommit(/*max_preemptions=*/1), 10);
  const SequenceId a = f.Enqueue(4, 150);               // 1 block, in the end 10
  const SequenceId c = f.Enqueue(70, 26);               // 5, 6
  f.Enqueue(28, 40);                                    // 2, 5
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(1));  // for a, of the newest
  while (f.Find(c) != nullptr) ASSERT_FALSE(f.Step().empty());
  f.Step();
  EXPECT_EQ(f.Load(0).running, 2);
  EXPECT_EQ(f.Load(0).kv_bytes, 7 * kBlockBytes);
  TenantTable tenants = MakeTenants(1);
  tenants[0].kv_limit_bytes = 8 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  for (int steps = 0; f.Load(0).running == 2; ++steps) {
    ASSERT_LT(steps, 100);
    ASSERT_FALSE(f.Step().empty());
  }
  EXPECT_TRUE(f.Runs(a));
  EXPECT_EQ(f.Load(0).waiting, 0) << "the other one has ended";
  EXPECT_EQ(f.Load(0).preempted, 1u);
  EXPECT_EQ(f.Find(a)->launched(), 48) << "it has waited at its limit";
  f.Release(a);
}

TEST(SchedulerOvercommitTest, PreemptedOftenEnoughItStartsWithAllThatItCanNeed) {
  SchedulerFixture f(Overcommit(/*max_preemptions=*/1), 8);
  const SequenceId a = f.Enqueue(20, 60), b = f.Enqueue(20, 60);  // 5 blocks each in the end
  f.Admit();
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(1));
  EXPECT_EQ(f.Find(b), nullptr);
  while (f.Find(a) != nullptr) {
    EXPECT_EQ(f.Load(0).running, 1) << "5 and 5 blocks do not fit";
    f.Step();
  }
  f.Enqueue(4, 60);
  f.Admit();
  EXPECT_EQ(f.Load(0).kv_bytes, 6 * kBlockBytes);
  while (f.scheduler().num_running() > 0) f.Step();
  EXPECT_EQ(f.Load(0).preempted, 1u);
}

TEST(SchedulerOvercommitTest, NobodyWithinItsTenantsReserveMakesRoomForOthers) {
  SchedulerFixture f(Overcommit(), 8);
  TenantTable tenants = MakeTenants(2);
  tenants[1].kv_reserved_bytes = 2 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  const SequenceId a = f.Enqueue(20, 60), b = f.Enqueue(20, 60);
  f.Admit();
  f.Be(1);
  const SequenceId covered = f.Enqueue(1, 31);  // 2 blocks in the end
  f.Admit();
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(1, 0));
  EXPECT_TRUE(f.Runs(a));
  EXPECT_EQ(f.Find(b), nullptr);
  EXPECT_TRUE(f.Runs(covered)) << "though it is the newest";
}

TEST(SchedulerOvercommitTest, AReserveDoesNotShieldWhoWantsMoreFromTheOldest) {
  SchedulerFixture f(Overcommit(), 8);
  TenantTable tenants = MakeTenants(2);
  tenants[1].kv_reserved_bytes = 2 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  const SequenceId a = f.Enqueue(90, 30);  // 6 blocks
  f.Admit();
  f.Be(1);
  const SequenceId b = f.Enqueue(26, 60);  // 2 blocks; both are full in the same step
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(0, 1)) << "or neither could go on";
  EXPECT_TRUE(f.Runs(a));
  EXPECT_EQ(f.Find(b), nullptr);
  while (!f.scheduler().Live().empty()) ASSERT_FALSE(f.Step().empty());
}

TEST(SchedulerOvercommitTest, AtItsOwnLimitATenantPreemptsItsOwn) {
  SchedulerFixture f(Overcommit(), 32);
  TenantTable tenants = MakeTenants(2);
  tenants[0].kv_limit_bytes = 5 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  const SequenceId a = f.Enqueue(20, 60), b = f.Enqueue(20, 60);
  f.Admit();
  f.Be(1);
  const SequenceId other = f.Enqueue(20, 60);
  f.Admit();
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(1, 0));
  EXPECT_TRUE(f.Runs(a));
  EXPECT_EQ(f.Find(b), nullptr);
  EXPECT_TRUE(f.Runs(other));
  while (!f.scheduler().Live().empty()) ASSERT_FALSE(f.Step().empty());
}

TEST(SchedulerOvercommitTest, WhatAReserveCoversNeedsToLeaveNothingForOthers) {
  SchedulerFixture f(Overcommit(), 8);
  TenantTable tenants = MakeTenants(2);
  tenants[0].kv_reserved_bytes = 4 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  f.Be(1);
  for (int i = 0; i < 4; ++i) f.Enqueue(4, 40);
  while (f.FreeBlocks() > 0) f.Step();
  EXPECT_EQ(f.Load(1).loans, 4u);
  f.Be(0);
  const SequenceId a = f.Enqueue(50, 4);  // all 4 blocks
  EXPECT_THAT(f.Admit(), ElementsAre(a));
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0, 2));
}

// Both are on loan; neither may push the older one out, or two of them would take turns.
TEST(SchedulerOvercommitTest, ALoanMakesRoomForOlderLoansAlone) {
  SchedulerFixture f(Overcommit(), 8);
  TenantTable tenants = MakeTenants(2);
  tenants[0].kv_reserved_bytes = 8 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  f.Be(1);
  const SequenceId a = f.Enqueue(60, 50), b = f.Enqueue(30, 50);  // 4 blocks and 2
  f.Admit();
  EXPECT_EQ(f.Load(1).loans, 2u);
  // b needs its fifth block at a time when a has enough.
  EXPECT_THAT(StepUntilPreempted(&f), ElementsAre(0, 1));
  EXPECT_TRUE(f.Runs(a));
  EXPECT_EQ(f.Find(b), nullptr);
}

// Random requests in too little memory, until all have ended.
class RandomOvercommit {
 public:
  RandomOvercommit(unsigned seed, int max_preemptions)
      : f(Overcommit(max_preemptions), 12), random_(seed) {
    Begin();
  }
  // With two cache classes.
  RandomOvercommit(unsigned seed, int32_t slabs, int32_t window)
      : f({.max_step_tokens = 16, .max_running_sequences = 8, .overcommit = true}, slabs, window),
        random_(seed) {
    Begin(/*longest=*/100);
  }

  void Begin(int longest = 60) {
    f.scheduler().SetTenants(MakeTenants(3));
    for (int i = 0; i < 20; ++i) {
      f.Be(static_cast<uint32_t>(Below(3)));
      f.Enqueue(1 + Below(longest), 1 + Below(longest));
    }
  }

  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  // `check` is given what ran first before a step, if anything did, and the step.
  template <typename Check>
  void Run(Check check) {
    for (int step = 0; !f.scheduler().Live().empty(); ++step) {
      SCOPED_TRACE(::testing::Message() << "step " << step);
      ASSERT_LT(step, 5000) << "it does not end";
      const SequenceId oldest = f.scheduler().Live().front()->id();
      const bool runs = f.Runs(oldest);
      const StepPlan plan = f.Step();
      ASSERT_FALSE(plan.empty()) << "nobody goes on";
      ASSERT_THAT(f.scheduler().CheckInvariants(), IsEmpty());
      if (runs) {
        ASSERT_NO_FATAL_FAILURE(check(oldest, plan));
      }
    }
  }

  SchedulerFixture f;

 private:
  std::mt19937 random_;
};

TEST(SchedulerOvercommitTest, TheOldestAlwaysGoesOn) {
  size_t preemptions = 0;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomOvercommit r(seed, /*max_preemptions=*/1000);
    ASSERT_NO_FATAL_FAILURE(r.Run([](SequenceId oldest, const StepPlan& plan) {
      ASSERT_TRUE(
          std::ranges::any_of(plan.sequences, [&](const auto& s) { return s.sequence == oldest; }));
    }));
    preemptions += r.f.scheduler().TakePreempted().size();
  }
  EXPECT_GT(preemptions, 20u);
}

TEST(SchedulerOvercommitTest, NobodyIsPreemptedTooOftenAndAllEnd) {
  size_t often = 0;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomOvercommit r(seed, /*max_preemptions=*/2);
    ASSERT_NO_FATAL_FAILURE(r.Run([&](SequenceId, const StepPlan&) {
      for (const Sequence* sequence : r.f.scheduler().Live()) {
        ASSERT_LE(sequence->preemptions(), 2);
        often += sequence->preemptions() == 2 ? 1 : 0;
      }
    }));
  }
  EXPECT_GT(often, 5u);
}

TEST(SchedulerOvercommitTest, WithReservesAndLimitsAllEnd) {
  uint64_t loans = 0;
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomOvercommit r(seed, /*max_preemptions=*/2);
    TenantTable tenants = MakeTenants(3);
    tenants[0].kv_reserved_bytes = r.Below(7) * kBlockBytes;
    tenants[1].kv_reserved_bytes = r.Below(7) * kBlockBytes;
    tenants[2].kv_limit_bytes = (8 + r.Below(4)) * kBlockBytes;
    r.f.scheduler().SetTenants(tenants);
    ASSERT_NO_FATAL_FAILURE(r.Run([](SequenceId, const StepPlan&) {}));
    for (uint32_t tenant : {0u, 1u, 2u}) loans += r.f.Load(tenant).loans;
  }
  EXPECT_GT(loans, 50u);
}

// Slabs that are used but partly may leave no room within a reserve.
TEST(SchedulerOvercommitTest, WithSeveralCacheClassesAllEnd) {
  size_t preemptions = 0;
  for (unsigned seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const auto random = static_cast<int32_t>(seed);
    RandomOvercommit r(seed, /*slabs=*/4 + random % 2, /*window=*/16 + random % 50);
    TenantTable tenants = MakeTenants(3);
    for (TenantPolicy& tenant : tenants) tenant.kv_reserved_bytes = r.Below(10) * kBlockBytes;
    r.f.scheduler().SetTenants(tenants);
    ASSERT_NO_FATAL_FAILURE(r.Run([](SequenceId, const StepPlan&) {}));
    preemptions += r.f.scheduler().TakePreempted().size();
  }
  EXPECT_GT(preemptions, 100u);
}

// There slabs that are used but partly may leave no room within the reserve either.
TEST(SchedulerOvercommitTest, WithSeveralCacheClassesAReserveDoesNotShieldFromTheOldest) {
  SchedulerFixture f({.max_step_tokens = 16, .max_running_sequences = 8, .overcommit = true},
                     /*slabs=*/4, /*window=*/40);
  TenantTable tenants = MakeTenants(2);
  tenants[1].kv_reserved_bytes = 8 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  const SequenceId a = f.Enqueue(4, 60);
  f.Step();
  f.Be(1);
  const SequenceId b = f.Enqueue(4, 60);
  f.Step();
  constexpr SequenceId kStranger(1000000), kOther(1000001);
  f.kv().Admit(kStranger, 96);  // two slabs of the second class, with theirs
  f.kv().Admit(kOther, 16);     // and of the first
  for (int step = 0; f.Load(1).preempted == 0; ++step) {
    ASSERT_LT(step, 20);
    f.Step();
  }
  EXPECT_TRUE(f.Runs(a));
  EXPECT_EQ(f.Find(b), nullptr);
  f.kv().Free(kStranger, StepId(0));
  f.kv().Free(kOther, StepId(0));
}

// With several cache classes its blocks with a window may lie scattered over slabs, one in each,
// where those of others were. Here what the scheduler does not know of takes the room.
TEST(SchedulerOvercommitTest, WhoIsAloneAndFindsNoRoomGivesItsSlabsBackAndStartsAgain) {
  SchedulerFixture f({.max_step_tokens = 16, .max_running_sequences = 8, .overcommit = true},
                     /*slabs=*/4, /*window=*/40);
  const SequenceId a = f.Enqueue(4, 200);
  f.Step();
  constexpr SequenceId kStranger(1000000);
  f.kv().Admit(kStranger, 48);  // two slabs of the second class, with what a holds
  f.kv().Admit(SequenceId(kStranger.value() + 1), 16);
  while (f.Load(0).preempted == 0) {
    ASSERT_LT(f.Find(a)->launched(), 200);
    f.Step();
  }
  EXPECT_EQ(f.scheduler().num_running(), 0);
  EXPECT_EQ(f.kv().Snapshot().classes[1].active_blocks, 0);
  f.kv().Free(kStranger, StepId(0));
  f.kv().Free(SequenceId(kStranger.value() + 1), StepId(0));
  for (int step = 0; !f.scheduler().Live().empty(); ++step) {
    ASSERT_LT(step, 1000) << "it does not end";
    ASSERT_FALSE(f.Step().empty()) << "nobody goes on";
  }
  EXPECT_EQ(f.Load(0).preempted, 1u);
}

}  // namespace
}  // namespace quire
