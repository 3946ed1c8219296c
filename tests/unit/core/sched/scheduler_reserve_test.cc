#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/sched/scheduler_fixture.h"

// Reserves that others borrow, and how they come back.

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr SchedulerOptions kManyPlaces{.max_step_tokens = 64, .max_running_sequences = 16};

TenantTable WithReserves(const std::vector<int64_t>& blocks) {
  TenantTable tenants = MakeTenants(blocks.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    tenants[i].kv_reserved_bytes = blocks[i] * kBlockBytes;
  }
  return tenants;
}

// Eight blocks, of which four are tenant 0's. Tenant 1 has eight sequences of a block each: the
// newest four are on loan.
class SchedulerReserveTest : public ::testing::Test {
 protected:
  SchedulerReserveTest() {
    f_.scheduler().SetTenants(WithReserves({4, 0}));
    f_.Be(1);
    for (int i = 0; i < 8; ++i) borrowers_.push_back(f_.Enqueue(4, 8));
    EXPECT_EQ(f_.Admit(), borrowers_);
    f_.Be(0);
  }

  SchedulerFixture f_{kManyPlaces, 8};
  std::vector<SequenceId> borrowers_;
};

TEST_F(SchedulerReserveTest, KvThatAReserveMayWantBackIsALoan) {
  EXPECT_EQ(f_.Load(1).loans, 4u);
  EXPECT_EQ(f_.Load(1).kv_bytes, 8 * kBlockBytes);
}

TEST_F(SchedulerReserveTest, ComesBackInOneRoundFromTheNewestLoans) {
  f_.Commit(f_.Launch(), 1);
  const SequenceId a = f_.Enqueue(4, 8), b = f_.Enqueue(20, 8);
  EXPECT_THAT(f_.Admit(), ElementsAre(a, b));
  EXPECT_THAT(f_.TakePreempted(), ElementsAre(0, 3));
  EXPECT_TRUE(f_.Runs(borrowers_[4]));
  for (int newest : {5, 6, 7}) EXPECT_EQ(f_.Find(borrowers_[static_cast<size_t>(newest)]), nullptr);
  EXPECT_EQ(f_.Load(1).preempted, 3u);
  EXPECT_EQ(f_.Load(1).waiting, 3);
}

TEST_F(SchedulerReserveTest, BeyondItsReserveATenantTakesNothingFromOthers) {
  f_.Enqueue(70, 8);  // 5 blocks
  EXPECT_THAT(f_.Admit(), IsEmpty());
  EXPECT_THAT(f_.TakePreempted(), ElementsAre(0, 0));
}

TEST_F(SchedulerReserveTest, WithAStepOnItsWayItComesBackInTwoRounds) {
  const StepPlan plan = f_.Launch();
  const SequenceId a = f_.Enqueue(4, 8);
  EXPECT_THAT(f_.Admit(), IsEmpty()) << "the step may still write to the block";
  EXPECT_THAT(f_.TakePreempted(), ElementsAre(0, 1));
  EXPECT_THAT(f_.Admit(), IsEmpty());
  EXPECT_THAT(f_.TakePreempted(), ElementsAre(0, 0)) << "the block is on its way already";
  f_.Commit(plan, 1);
  EXPECT_THAT(f_.Admit(), ElementsAre(a));
  EXPECT_THAT(f_.TakePreempted(), ElementsAre(0, 0));
}

TEST_F(SchedulerReserveTest, ThePreemptedTakeTheirOldPlacesAndComeBackForNothing) {
  f_.Commit(f_.Launch(), 1);
  f_.Be(1);
  const SequenceId newest = f_.Enqueue(4, 8);
  f_.Be(0);
  const SequenceId owner = f_.Enqueue(20, 8);  // 2 blocks
  EXPECT_THAT(f_.Admit(), ElementsAre(owner));
  f_.Commit(f_.Launch(), 1);
  f_.Release(owner);
  const double cost = f_.Load(1).cost;
  const std::vector<SequenceId> back = f_.Admit();
  ASSERT_EQ(back.size(), 2u) << "and not the newest";
  EXPECT_FALSE(f_.Runs(newest));
  EXPECT_EQ(f_.Find(back[0])->request().id, RequestId(7));
  EXPECT_EQ(f_.Find(back[1])->request().id, RequestId(8));
  EXPECT_EQ(f_.Find(back[0])->generated_tokens(), 1);
  const StepPlan plan = f_.Launch();
  EXPECT_EQ(plan.num_tokens, 6 + 2 * 5);
  EXPECT_EQ(f_.Load(1).cost, cost + 8 * kSampledTokenCost) << "eight rows and no prompt token";
  EXPECT_EQ(f_.Load(1).recomputed_tokens, 10u);
}

// Its chunks end where its scores were reported, but all of its prompt is expected of it.
TEST(SchedulerReserveRoundTest, OfAPreemptedScoredPromptTheRestIsExpected) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 4, .max_scored_tokens = 10},
                     8);
  f.scheduler().SetTenants(WithReserves({8, 0}));
  f.Be(1);
  const SequenceId a = f.Enqueue(40, 8, /*prompt_logprobs=*/0);
  f.Step();
  f.scheduler().Find(a)->CommitScores(10);
  f.Be(0);
  const SequenceId owner = f.Enqueue(120, 8);
  EXPECT_THAT(f.Admit(), ElementsAre(owner));
  const FairShare& fair = f.scheduler().fair_share();
  EXPECT_EQ(fair.expected(TenantId(1)), 0);
  f.Release(owner);
  ASSERT_EQ(f.Admit().size(), 1u);
  EXPECT_EQ(fair.expected(TenantId(1)), 30);
  for (int i = 0; i < 5; ++i) f.Step();  // ten tokens again, and thirty in three chunks
  EXPECT_EQ(fair.expected(TenantId(1)), 0);
}

TEST(SchedulerReserveRoundTest, NoLoanIsGivenWhileSomebodyReclaims) {
  SchedulerFixture f(kManyPlaces, 8);
  f.scheduler().SetTenants(WithReserves({4, 0}));
  f.Enqueue(60, 1);
  f.Step();  // tenant 0 is behind tenant 1 in the turns
  f.Be(1);
  for (int i = 0; i < 7; ++i) f.Enqueue(2, 8);
  f.Admit();
  EXPECT_EQ(f.Load(1).loans, 3u);
  const StepPlan plan = f.Launch();
  f.Enqueue(2, 8);
  f.Be(0);
  const SequenceId a = f.Enqueue(20, 8);  // 2 blocks, where one is free
  EXPECT_THAT(f.Admit(), IsEmpty()) << "the free one is not to be lent";
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0, 1));
  f.Commit(plan, 1);
  EXPECT_THAT(f.Admit(), ElementsAre(a));
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0, 0));
}

// Tenant 0 is over its reserve of 8 blocks by one, all on loan. Once that one is gone what it holds
// is its own, and the loan of tenant 2, though older, is next.
TEST(SchedulerReserveRoundTest, WhoIsBackWithinItsReserveLosesNothingMore) {
  SchedulerFixture f({.max_step_tokens = 256, .max_running_sequences = 16}, 14);
  f.scheduler().SetTenants(WithReserves({8, 4, 0}));
  f.Be(2);
  const SequenceId borrower = f.Enqueue(40, 8);  // 3 blocks of 2 that are nobody's
  f.Be(0);
  const SequenceId first = f.Enqueue(8, 8), large = f.Enqueue(120, 8), small = f.Enqueue(8, 8);
  f.Step();
  EXPECT_EQ(f.Load(2).loans, 1u);
  EXPECT_EQ(f.Load(0).loans, 2u);
  f.Release(first);
  f.Be(1);
  const SequenceId a = f.Enqueue(40, 8), b = f.Enqueue(8, 8);  // 3 blocks and 1; 2 are free
  EXPECT_THAT(f.Admit(), ElementsAre(a, b));
  EXPECT_EQ(f.Find(small), nullptr);
  EXPECT_TRUE(f.Runs(large));
  EXPECT_EQ(f.Find(borrower), nullptr);
}

TEST(SchedulerReserveRoundTest, LoansAreFirmOnceNobodyLacksAnything) {
  SchedulerFixture f(kManyPlaces, 8);
  f.scheduler().SetTenants(WithReserves({4, 0}));
  f.Be(1);
  std::vector<SequenceId> ids;
  ids.reserve(6);
  for (int i = 0; i < 6; ++i) ids.push_back(f.Enqueue(4, 8));
  f.Admit();
  EXPECT_EQ(f.Load(1).loans, 2u);
  f.Release(ids[0]);
  f.Release(ids[1]);
  f.Be(0);
  for (int i = 0; i < 4; ++i) f.Enqueue(4, 8);
  EXPECT_EQ(f.Admit().size(), 4u);
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0, 0));
  EXPECT_EQ(f.FreeBlocks(), 0);
}

TEST(SchedulerReserveRoundTest, ANewReserveIsTakenFromWhatRunsAlready) {
  SchedulerFixture f(kManyPlaces, 8);
  f.scheduler().SetTenants(WithReserves({0, 0}));
  f.Be(1);
  std::vector<SequenceId> ids;
  ids.reserve(8);
  for (int i = 0; i < 8; ++i) ids.push_back(f.Enqueue(4, 8));
  f.Admit();
  EXPECT_EQ(f.Load(1).loans, 0u);
  f.scheduler().SetTenants(WithReserves({4, 2}));
  EXPECT_THAT(f.scheduler().CheckInvariants(), IsEmpty());
  f.Be(0);
  f.Enqueue(60, 4);
  EXPECT_EQ(f.Admit().size(), 1u);
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0, 4));
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(f.Runs(ids[i])) << i;
}

TEST(SchedulerReserveRoundTest, AReserveThatIsTakenBackReclaimsNothing) {
  SchedulerFixture f(kManyPlaces, 8);
  f.scheduler().SetTenants(WithReserves({4, 0}));
  f.Be(1);
  for (int i = 0; i < 8; ++i) f.Enqueue(4, 8);
  f.Admit();
  f.scheduler().SetTenants(WithReserves({0, 0}));
  f.Be(0);
  f.Enqueue(4, 8);
  EXPECT_THAT(f.Admit(), IsEmpty());
  EXPECT_THAT(f.TakePreempted(), ElementsAre(0, 0));
}

TEST(SchedulerReserveDeathTest, TheTableOfTenantsNeverGetsShorter) {
  SchedulerFixture f(kManyPlaces, 8);
  f.scheduler().SetTenants(WithReserves({0, 0}));
  EXPECT_DEATH(f.scheduler().SetTenants(WithReserves({0})), "check failed");
}

TEST(SchedulerSettledLoanTest, WhatItsReserveHasComeToCoverIsNoLoanAnyMore) {
  SchedulerFixture f(kManyPlaces, 8);
  f.scheduler().SetTenants(WithReserves({4, 2, 0}));
  const auto start = [&f](uint32_t tenant, int32_t prompt_tokens) {
    f.Be(tenant);
    const SequenceId id = f.Enqueue(prompt_tokens, 4);
    EXPECT_THAT(f.Admit(), ElementsAre(id));
    return id;
  };
  const SequenceId first = start(1, 20);  // 2 blocks: all of its reserve
  const SequenceId loan = start(2, 40);   // 3
  const SequenceId second = start(1, 20);
  EXPECT_EQ(f.Load(1).loans, 1u);
  EXPECT_EQ(f.Load(2).loans, 1u);
  f.Release(first);
  start(0, 50);  // 4
  EXPECT_TRUE(f.Runs(second)) << "though it is the newest of the two";
  EXPECT_EQ(f.Find(loan), nullptr);
}

}  // namespace
}  // namespace quire
