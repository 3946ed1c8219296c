#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/sched/scheduler_fixture.h"

// Whose turn it is, and what takes a tenant out of the competition.

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr SchedulerOptions kFourPlaces{.max_step_tokens = 64, .max_running_sequences = 4};
constexpr SchedulerOptions kManyPlaces{.max_step_tokens = 64, .max_running_sequences = 16};

TenantTable WithWeights(const std::vector<double>& weights) {
  TenantTable tenants = MakeTenants(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) tenants[i].weight = weights[i];
  return tenants;
}

// The first of them may have 10 tokens a second.
TenantTable WithTokenRate(size_t count, double burst_tokens) {
  TenantTable tenants = MakeTenants(count);
  tenants[0].tokens_per_second = 10;
  tenants[0].burst_tokens = burst_tokens;
  return tenants;
}

// Steps in which all `backlogged` tenants always have something waiting.
void RunBacklogged(SchedulerFixture* f, int steps, const std::vector<uint32_t>& backlogged) {
  for (int i = 0; i < steps; ++i) {
    for (const uint32_t tenant : backlogged) {
      f->Be(tenant);
      while (f->Load(tenant).waiting < 5) f->Enqueue(8, 4);
    }
    f->Step();
  }
}

TEST(SchedulerTenantsTest, TheBackloggedShareByWeight) {
  SchedulerFixture f(kFourPlaces, 64);
  f.scheduler().SetTenants(WithWeights({3, 1}));
  for (int i = 0; i < 20; ++i) {
    RunBacklogged(&f, 50, {0, 1});
    // A turn costs 8 + 2 * 4; four of them may be on their way.
    EXPECT_NEAR(f.Load(0).cost / 3, f.Load(1).cost, 2 * 16 + 4 * 16) << "after 50 * " << i;
  }
  EXPECT_NEAR(f.Load(0).cost / f.Load(1).cost, 3, 0.1);
  EXPECT_NEAR(f.Load(0).due, f.Load(0).cost_of_due, 100);
  EXPECT_NEAR(f.Load(1).due, f.Load(1).cost_of_due, 100);
}

TEST(SchedulerTenantsTest, WhoComesLateNeitherStarvesNorIsStarved) {
  SchedulerFixture f(kFourPlaces, 64);
  f.scheduler().SetTenants(WithWeights({1, 1}));
  RunBacklogged(&f, 300, {0});
  const double before = f.Load(0).cost;
  EXPECT_EQ(f.Load(1).cost, 0);
  for (int steps : {30, 270}) {
    const double early = f.Load(0).cost, late = f.Load(1).cost;
    RunBacklogged(&f, steps, {0, 1});
    EXPECT_NEAR(f.Load(0).cost - early, f.Load(1).cost - late, 2 * 16 + 4 * 16) << steps;
  }
  EXPECT_GT(f.Load(0).cost - before, 1000);
}

TEST(SchedulerTenantsTest, PlacesAreNotAllTakenInOneRoundByTheOneThatIsBehind) {
  SchedulerFixture f(kFourPlaces, 64);
  f.scheduler().SetTenants(MakeTenants(2));
  for (const uint32_t tenant : {0u, 1u}) {
    f.Be(tenant);
    for (int i = 0; i < 4; ++i) f.Enqueue(10, 4);
  }
  EXPECT_EQ(f.Admit().size(), 4u);
  EXPECT_EQ(f.Load(0).running, 2);
  EXPECT_EQ(f.Load(1).running, 2);
}

TEST(SchedulerTenantsTest, LongPromptsAreLongTurns) {
  SchedulerFixture f(kFourPlaces, 64);
  f.scheduler().SetTenants(MakeTenants(2));
  f.Be(0);
  const SequenceId a = f.Enqueue(30, 4);
  f.Enqueue(30, 4);
  f.Be(1);
  const SequenceId b = f.Enqueue(10, 4), c = f.Enqueue(10, 4), d = f.Enqueue(10, 4);
  EXPECT_THAT(f.Admit(), ElementsAre(b, a, c, d));
}

TEST(SchedulerTenantsTest, NoMoreOfATenantRunThanItMay) {
  SchedulerFixture f(kFourPlaces, 64);
  TenantTable tenants = MakeTenants(2);
  tenants[0].max_running = 1;
  f.scheduler().SetTenants(tenants);
  const SequenceId a = f.Enqueue(8, 4), b = f.Enqueue(8, 4);
  f.Be(1);
  const SequenceId c = f.Enqueue(8, 4);
  EXPECT_THAT(f.Admit(), ElementsAre(c, a)) << "others pass by";
  EXPECT_TRUE(f.scheduler().fair_share().IsEligible(TenantId(0))) << "it has a prompt to compute";
  f.Commit(f.Launch(), 1);
  EXPECT_FALSE(f.scheduler().fair_share().IsEligible(TenantId(0)));
  EXPECT_THAT(f.Admit(), IsEmpty());
  f.Release(a);
  EXPECT_TRUE(f.scheduler().fair_share().IsEligible(TenantId(0)));
  EXPECT_THAT(f.Admit(), ElementsAre(b));
}

TEST(SchedulerTenantsTest, ATenantHoldsNoMoreKvThanItsLimit) {
  SchedulerFixture f(kManyPlaces, 64);
  TenantTable tenants = MakeTenants(2);
  tenants[0].kv_limit_bytes = 5 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  const SequenceId a = f.Enqueue(20, 4), b = f.Enqueue(20, 4), c = f.Enqueue(20, 4);  // 2 blocks
  f.Be(1);
  const SequenceId d = f.Enqueue(20, 4);
  EXPECT_THAT(f.Admit(), ElementsAre(d, a, b));
  EXPECT_EQ(f.Load(0).kv_bytes, 4 * kBlockBytes);
  f.Commit(f.Launch(), 1);
  f.Commit(f.Launch(), 1);
  EXPECT_FALSE(f.scheduler().fair_share().IsEligible(TenantId(0)));
  EXPECT_THAT(f.Admit(), IsEmpty());
  f.Release(b);
  EXPECT_THAT(f.Admit(), ElementsAre(c));
}

TEST(SchedulerTenantsTest, ALimitThatWasLoweredLetsARequestRunAlone) {
  SchedulerFixture f(kManyPlaces, 64);
  const SequenceId a = f.Enqueue(20, 4), b = f.Enqueue(20, 4);
  TenantTable tenants = MakeTenants(1);
  tenants[0].kv_limit_bytes = kBlockBytes;
  f.scheduler().SetTenants(tenants);
  EXPECT_FALSE(f.scheduler().CanEverRun(*f.Find(a))) << "the engine ends it";
  EXPECT_THAT(f.Admit(), ElementsAre(a)) << "but it would not wait for ever";
  f.Release(a);
  EXPECT_THAT(f.Admit(), ElementsAre(b));
}

TEST(SchedulerTenantsTest, ATenantAheadOfItsTokenRateWaitsUntilTheTimeHasCaughtUp) {
  SchedulerFixture f(kManyPlaces, 64);
  f.scheduler().SetTenants(WithTokenRate(2, 20));
  EXPECT_EQ(f.scheduler().NextOpening(), kNoDeadline);
  f.Enqueue(29, 1);
  f.Step();  // 30 tokens
  const SequenceId a = f.Enqueue(8, 4);
  f.Be(1);
  const SequenceId b = f.Enqueue(8, 4);
  EXPECT_THAT(f.Admit(), ElementsAre(b));
  EXPECT_FALSE(f.scheduler().fair_share().IsEligible(TenantId(0)));
  const TimePoint opens = f.scheduler().NextOpening();
  EXPECT_NEAR(ToSeconds(opens - kStart), 1, 1e-6);
  EXPECT_THAT(f.Admit(opens - Duration(1)), IsEmpty());
  EXPECT_THAT(f.Admit(opens), ElementsAre(a));
  EXPECT_NEAR(ToSeconds(f.scheduler().NextOpening() - opens), 0.8, 1e-6) << "for its prompt";
}

TEST(SchedulerTenantsTest, WhatItsRunningSequencesTakeMeanwhileCountsForTheRate) {
  SchedulerFixture f(kManyPlaces, 64);
  f.scheduler().SetTenants(WithTokenRate(1, 10));
  f.Enqueue(10, 100);
  for (int i = 0; i < 20; ++i) f.Step();  // 30 tokens: ahead until 2 s later
  const SequenceId a = f.Enqueue(8, 4);
  EXPECT_THAT(f.Admit(kStart + std::chrono::milliseconds(1900)), IsEmpty());
  EXPECT_NEAR(ToSeconds(f.scheduler().NextOpening() - kStart), 2, 1e-6);
  EXPECT_THAT(f.Admit(kStart + std::chrono::milliseconds(2001)), ElementsAre(a));
}

TEST(SchedulerTenantsTest, NewPoliciesDoNotOpenWhoIsAheadOfTheSameRate) {
  SchedulerFixture f(kManyPlaces, 64);
  TenantTable tenants = WithTokenRate(2, 20);
  f.scheduler().SetTenants(tenants);
  f.Enqueue(49, 1);
  f.Step();  // 50 tokens: ahead until 3 s later
  f.Enqueue(8, 4);
  tenants[1].weight = 2;
  f.scheduler().SetTenants(tenants);
  EXPECT_THAT(f.Admit(), IsEmpty());
  EXPECT_NEAR(ToSeconds(f.scheduler().NextOpening() - kStart), 3, 1e-6);
  tenants[0].tokens_per_second = 0;
  f.scheduler().SetTenants(tenants);
  EXPECT_EQ(f.scheduler().NextOpening(), kNoDeadline);
  EXPECT_EQ(f.Admit().size(), 1u);
}

TEST(SchedulerTenantsTest, WhatHasStartedCountsForTheRateBeforeItIsComputed) {
  SchedulerFixture f(kManyPlaces, 64);
  f.scheduler().SetTenants(WithTokenRate(1, 20));
  const SequenceId a = f.Enqueue(15, 1), b = f.Enqueue(15, 1), c = f.Enqueue(15, 1);
  EXPECT_THAT(f.Admit(), ElementsAre(a, b)) << "30 tokens are more than the burst";
  EXPECT_NEAR(ToSeconds(f.scheduler().NextOpening() - kStart), 1, 1e-6);
  f.Release(b);
  EXPECT_THAT(f.Admit(), ElementsAre(c)) << "nothing is expected of who has ended";
}

TEST(SchedulerTenantsTest, WhoHasNoRoomHoldsBackThoseBehindItAlone) {
  SchedulerFixture f(kManyPlaces, 8);
  f.scheduler().SetTenants(MakeTenants(4));
  f.Be(3);
  const SequenceId holder = f.Enqueue(64, 1);  // 4 blocks
  f.Admit();
  f.Commit(f.Launch(), 1);
  f.Be(2);
  const SequenceId behind = f.Enqueue(8, 1);
  f.Be(1);
  const SequenceId blocked = f.Enqueue(64, 1);
  f.Be(0);
  const SequenceId before = f.Enqueue(8, 1);
  EXPECT_THAT(f.Admit(), ElementsAre(before));
  EXPECT_FALSE(f.Runs(behind));
  f.Release(holder);
  f.Release(before);
  EXPECT_THAT(f.Admit(), ElementsAre(blocked, behind));
}

TEST(SchedulerTenantsTest, WhatAReserveCoversGoesAheadOfABlockedHead) {
  SchedulerFixture f(kManyPlaces, 8);
  TenantTable tenants = MakeTenants(3);
  tenants[2].kv_reserved_bytes = kBlockBytes;
  f.scheduler().SetTenants(tenants);
  f.Be(0);
  f.Enqueue(64, 1);
  f.Admit();
  f.Commit(f.Launch(), 1);
  f.Be(2);
  const SequenceId covered = f.Enqueue(8, 1), beyond = f.Enqueue(8, 1);
  f.Be(1);
  f.Enqueue(80, 1);
  EXPECT_THAT(f.Admit(), ElementsAre(covered));
  EXPECT_FALSE(f.Runs(beyond));
}

TEST(SchedulerTenantsTest, PriorityIsSoonerWithinATenantUpToItsCap) {
  SchedulerFixture f(kManyPlaces, 64);
  TenantTable tenants = MakeTenants(2);
  tenants[0].max_priority = 1;
  f.scheduler().SetTenants(tenants);
  const auto enqueue = [&f](uint32_t tenant, int32_t priority, int seconds_later) {
    Request request;
    request.tenant = TenantId(tenant);
    request.prompt.assign(8, 1);
    request.sampling.max_tokens = 4;
    request.priority = priority;
    request.arrival = kStart + std::chrono::seconds(seconds_later);
    return f.Enqueue(std::move(request));
  };
  const SequenceId old = enqueue(0, 0, 0), first = enqueue(0, 0, 2), high = enqueue(0, 1, 11),
                   capped = enqueue(0, 9, 11);
  EXPECT_THAT(f.Admit(), ElementsAre(old, high, capped, first))
      << "a step of priority is ten seconds of waiting";
  const SequenceId plain = enqueue(1, 0, 0), ignored = enqueue(1, 9, 0);
  EXPECT_THAT(f.Admit(), ElementsAre(plain, ignored));
}

TEST(SchedulerTenantsTest, TokensAreChargedWhenLaunchedAndDiscardedOnesRefunded) {
  SchedulerFixture f(kManyPlaces, 64);
  f.scheduler().SetTenants(MakeTenants(2));
  f.Be(1);
  const SequenceId a = f.Enqueue(8, 4);
  f.Admit();
  EXPECT_EQ(f.Load(1).cost, 0);
  EXPECT_EQ(f.scheduler().fair_share().turn(TenantId(1)).counter, 8) << "it is expected";
  const StepPlan plan = f.Launch();
  EXPECT_EQ(f.Load(1).cost, 8 + 2);
  EXPECT_EQ(f.scheduler().fair_share().turn(TenantId(1)).counter, 10);
  f.Release(a);
  f.scheduler().Refund(plan.sequences[0]);
  EXPECT_EQ(f.Load(1).cost, 8);
  EXPECT_EQ(f.Load(0).cost, 0);
}

TEST(SchedulerTenantsTest, AReleaseTakesBackAllThatIsCounted) {
  SchedulerFixture f({.max_step_tokens = 4, .max_running_sequences = 1}, 64);
  f.scheduler().SetTenants(MakeTenants(2));
  f.Be(1);
  const SequenceId running = f.Enqueue(20, 4), waiting = f.Enqueue(8, 4);
  f.Admit();
  f.Commit(f.Launch(), 1);
  EXPECT_EQ(f.Load(1).waiting_tokens, 8);
  EXPECT_EQ(f.Load(1).kv_bytes, 2 * kBlockBytes);
  f.Release(waiting);
  EXPECT_EQ(f.Load(1).waiting, 0);
  EXPECT_EQ(f.Load(1).waiting_tokens, 0);
  f.Release(running);
  EXPECT_EQ(f.Load(1).running, 0);
  EXPECT_EQ(f.Load(1).kv_bytes, 0);
  const FairShare& fair = f.scheduler().fair_share();
  EXPECT_FALSE(fair.IsEligible(TenantId(1)));
  EXPECT_EQ(fair.turn(TenantId(1)).counter, fair.counter(TenantId(1))) << "nothing is expected";
}

TEST(SchedulerTenantsTest, HeldKvIsCountedOverTime) {
  SchedulerFixture f(kManyPlaces, 64);
  const SequenceId a = f.Enqueue(20, 4);
  f.Admit(kStart);
  f.Admit(kStart + std::chrono::seconds(3));
  EXPECT_DOUBLE_EQ(f.Load(0).kv_byte_seconds, 3.0 * 2 * kBlockBytes);
  f.Release(a);
  f.Admit(kStart + std::chrono::seconds(9));
  EXPECT_DOUBLE_EQ(f.Load(0).kv_byte_seconds, 3.0 * 2 * kBlockBytes);
}

}  // namespace
}  // namespace quire
