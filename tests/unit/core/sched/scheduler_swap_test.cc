#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/sched/scheduler_fixture.h"

// Preempted sequences whose KV goes to the host and comes back.

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SchedulerOptions Swapping() {
  return {.max_step_tokens = 256,
          .max_running_sequences = 16,
          .overcommit = true,
          .swap_seconds_per_byte = 1e-9};
}

// Steps while `goes_on`, as the engine does: where there is nothing to do it waits for a copy.
template <typename Condition>
void StepWhile(SchedulerFixture* f, Condition goes_on) {
  for (int step = 0; goes_on(); ++step) {
    ASSERT_LT(step, 1000) << "it does not end";
    if (f->Step().empty()) {
      ASSERT_TRUE(f->kv().WaitForTransfer()) << "nothing to do";
    }
  }
}

// Returns the step that is on its way when somebody is preempted.
StepPlan LaunchUntilPreempted(SchedulerFixture* f) {
  for (int step = 0; step < 1000; ++step) {
    StepPlan plan = f->Launch();
    f->scheduler().MakeRoom(plan.id);
    if (f->Load(0).preempted > 0) return plan;
    f->Commit(plan, 1);
  }
  ADD_FAILURE() << "nobody is preempted";
  return {};
}

// Two sequences in memory for one and a half of them; b is the newer.
class SchedulerSwapTest : public ::testing::Test {
 protected:
  SchedulerSwapTest() {
    f.EnableSwapping(/*host_blocks=*/8);
    f.scheduler().SetRecomputeCost(1);
    a = f.Enqueue(40, 60);
    b = f.Enqueue(40, 60);
    f.Admit();
  }

  void StepUntilPreempted() {
    StepWhile(&f, [&] { return f.Load(0).preempted == 0; });
  }
  void StepUntilEnded(SequenceId id) {
    StepWhile(&f, [&] { return f.Find(id) != nullptr; });
  }
  void StepToTheEnd() {
    StepWhile(&f, [&] { return !f.scheduler().Live().empty(); });
  }
  size_t HeldOnTheHost() { return f.kv().Snapshot().host_used_bytes; }
  static std::vector<SequenceId> Ids(const StepPlan& plan) {
    std::vector<SequenceId> ids;
    for (const SequenceStep& step : plan.sequences) ids.push_back(step.sequence);
    return ids;
  }

  SchedulerFixture f{Swapping(), 8};
  SequenceId a, b;
};

TEST_F(SchedulerSwapTest, TheNewestKeepsItsKvAndComesBackWithIt) {
  StepUntilPreempted();
  const Sequence* const swapped = f.Find(b);
  ASSERT_NE(swapped, nullptr) << "under its id";
  EXPECT_EQ(swapped->status(), RequestStatus::kWaiting);
  EXPECT_EQ(f.Load(0).swapped_out, 1u);
  EXPECT_EQ(f.Load(0).waiting, 1);
  const int32_t launched = swapped->launched();
  EXPECT_GE(launched, 40);
  EXPECT_EQ(HeldOnTheHost(), 4u * kBlockBytes);
  EXPECT_EQ(f.Load(0).kv_bytes, f.kv().HeldBytes(a)) << "what is out is promised nothing";
  StepUntilEnded(a);
  EXPECT_TRUE(f.Step().empty()) << "its KV is on its way in";
  while (f.kv().WaitForTransfer()) continue;
  const StepPlan plan = f.Step();
  ASSERT_THAT(Ids(plan), ElementsAre(b));
  EXPECT_EQ(plan.sequences[0].start, launched);
  EXPECT_FALSE(plan.sequences[0].prefill);
  StepUntilEnded(b);
  EXPECT_EQ(f.Load(0).recomputed_tokens, 0u);
  EXPECT_EQ(HeldOnTheHost(), 0u);
}

TEST_F(SchedulerSwapTest, AStepOnItsWayIsCommittedAndOnlyThenItComesBack) {
  const StepPlan plan = LaunchUntilPreempted(&f);
  const size_t known = f.Find(b)->tokens().size();
  f.Release(a);
  EXPECT_THAT(f.Admit(), IsEmpty()) << "the step names its blocks";
  EXPECT_EQ(f.Load(0).waiting, 1);
  f.Commit(plan, 1);
  EXPECT_EQ(f.Find(b)->tokens().size(), known + 1) << "its token is not drawn again";
  while (f.kv().WaitForTransfer()) continue;
  EXPECT_THAT(f.Admit(), ElementsAre(b));
}

// At the tenant's limit, with room beyond it.
class SchedulerSwapAtLimitTest : public ::testing::Test {
 protected:
  explicit SchedulerSwapAtLimitTest(int32_t blocks = 32) : f(Swapping(), blocks) {
    f.EnableSwapping(8);
    f.scheduler().SetRecomputeCost(1);
    TenantTable tenants = MakeTenants(1);
    tenants[0].kv_limit_bytes = 8 * kBlockBytes;
    f.scheduler().SetTenants(tenants);
    f.Enqueue(40, 60);
    b = f.Enqueue(39, 60);
    f.Admit();
    plan = LaunchUntilPreempted(&f);
  }

  SchedulerFixture f;
  SequenceId b;
  StepPlan plan;
};

class SchedulerSwapFullTest : public SchedulerSwapAtLimitTest {
 protected:
  SchedulerSwapFullTest() : SchedulerSwapAtLimitTest(/*blocks=*/8) {}
};

// Or whether it may start would change without anybody's notice.
TEST_F(SchedulerSwapFullTest, WhatItWillNeedStaysTheSameWhenItsLastTokenComes) {
  ASSERT_EQ(f.Find(b)->tokens().size(), 63u)
      << "a block holds the next token, but not the one after";
  f.Commit(plan, 1);
  EXPECT_THAT(f.scheduler().CheckInvariants(), IsEmpty());
}

TEST_F(SchedulerSwapAtLimitTest, WithRoomForItAtOnceItWaitsForItsLastStepAllTheSame) {
  f.scheduler().SetTenants(MakeTenants(1));  // without a limit
  EXPECT_THAT(f.Admit(), IsEmpty());
  f.Commit(plan, 1);
  EXPECT_THAT(f.Admit(), ElementsAre(b));
}

TEST_F(SchedulerSwapTest, WhereComputingIsCheaperItIsComputedAgain) {
  f.scheduler().SetRecomputeCost(1e-9);
  StepUntilPreempted();
  EXPECT_EQ(f.Find(b), nullptr) << "it has a new id";
  EXPECT_EQ(f.Load(0).swapped_out, 0u);
  StepToTheEnd();
  EXPECT_GT(f.Load(0).recomputed_tokens, 0u);
}

TEST_F(SchedulerSwapTest, WhatEndsOutsideLeavesNothingBehind) {
  StepUntilPreempted();
  f.Release(b);
  StepUntilEnded(a);
  while (f.kv().WaitForTransfer()) continue;
  EXPECT_EQ(HeldOnTheHost(), 0u);
  EXPECT_TRUE(f.kv().Snapshot().AllFree());
}

TEST_F(SchedulerSwapTest, OnItsWayInItSitsOutWhileOthersHaveSomethingToDo) {
  StepUntilPreempted();
  f.Release(a);
  while (f.kv().WaitForTransfer()) continue;
  const SequenceId c = f.Enqueue(4, 8);
  EXPECT_THAT(f.Admit(), ElementsAre(b, c));
  EXPECT_THAT(Ids(f.scheduler().PlanStep(StepId(1000))), ElementsAre(c));
  f.Commit(f.Launch(), 1);
  while (f.kv().WaitForTransfer()) continue;
  f.Admit();
  EXPECT_THAT(Ids(f.scheduler().PlanStep(StepId(1000))), ElementsAre(b, c)) << "it has arrived";
}

TEST_F(SchedulerSwapTest, OnItsWayInItIsNotPreempted) {
  StepUntilPreempted();
  f.Release(a);
  while (f.kv().WaitForTransfer()) continue;
  f.Admit();
  ASSERT_TRUE(f.Runs(b));
  TenantTable tenants = MakeTenants(2);
  tenants[1].kv_reserved_bytes = 8 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  f.Be(1);
  const SequenceId c = f.Enqueue(100, 4);
  EXPECT_THAT(f.Admit(), IsEmpty());
  EXPECT_TRUE(f.Runs(b)) << "its blocks are still being written";
  while (f.kv().WaitForTransfer()) continue;
  f.Admit();
  EXPECT_FALSE(f.Runs(b));
  EXPECT_EQ(f.Load(0).swapped_out, 2u);
  StepToTheEnd();
  EXPECT_EQ(f.Find(c), nullptr);
  EXPECT_EQ(f.Load(0).recomputed_tokens, 0u);
}

// An older one that needs room sits out rather than let the copy have been for nothing.
TEST(SchedulerSwapArrivalTest, OnItsWayInItIsNotPreemptedForAnOlderOne) {
  SchedulerFixture f(Swapping(), 12);
  f.EnableSwapping(8);
  f.scheduler().SetRecomputeCost(1);
  const SequenceId first = f.Enqueue(40, 30);
  f.Enqueue(40, 150);
  const SequenceId newest = f.Enqueue(40, 60);
  StepWhile(&f, [&] { return f.Find(first) != nullptr; });
  ASSERT_EQ(f.Load(0).swapped_out, 1u);
  while (f.kv().WaitForTransfer()) continue;
  for (int step = 0; !f.Step().empty(); ++step) ASSERT_LT(step, 1000) << "there is always room";
  EXPECT_TRUE(f.Runs(newest)) << "its blocks are still being written";
  EXPECT_EQ(f.Load(0).preempted, 1u);
  while (f.kv().WaitForTransfer()) continue;
  f.Step();
  EXPECT_FALSE(f.Runs(newest));
  EXPECT_EQ(f.Load(0).swapped_out, 2u);
  StepWhile(&f, [&] { return !f.scheduler().Live().empty(); });
  EXPECT_EQ(f.Load(0).recomputed_tokens, 0u);
}

TEST_F(SchedulerSwapTest, PreemptedOftenEnoughItComesBackWithAllThatItCanNeed) {
  SchedulerOptions options = Swapping();
  options.max_preemptions = 1;
  SchedulerFixture once(options, 8);
  once.EnableSwapping(8);
  once.scheduler().SetRecomputeCost(1);
  const SequenceId first = once.Enqueue(40, 60), second = once.Enqueue(40, 60);
  once.Admit();
  StepWhile(&once, [&] { return once.Find(first) != nullptr; });
  EXPECT_EQ(once.Load(0).preempted, 1u);
  EXPECT_FALSE(once.Runs(second));
  while (once.kv().WaitForTransfer()) continue;
  once.Admit();
  EXPECT_TRUE(once.Runs(second));
  EXPECT_EQ(once.Load(0).kv_bytes, 7 * kBlockBytes);
}

// A prompt that is preempted between two chunks goes on behind the first.
TEST(SchedulerSwapLoanTest, APromptHalfComputedGoesOnBehindWhatItHas) {
  SchedulerOptions options = Swapping();
  options.overcommit = false;
  options.max_step_tokens = 32;
  SchedulerFixture f(options, 8);
  f.EnableSwapping(8);
  f.scheduler().SetRecomputeCost(1);
  TenantTable tenants = MakeTenants(2);
  tenants[1].kv_reserved_bytes = 8 * kBlockBytes;
  f.scheduler().SetTenants(tenants);
  const SequenceId loan = f.Enqueue(90, 10);
  f.Step();
  f.Be(1);
  const SequenceId owner = f.Enqueue(100, 1);
  f.Admit();
  EXPECT_EQ(f.Load(0).swapped_out, 1u);
  EXPECT_EQ(f.scheduler().fair_share().expected(TenantId(0)), 0);
  StepWhile(&f, [&] { return f.Find(owner) != nullptr; });
  EXPECT_TRUE(f.Step().empty()) << "its KV is on its way in";
  while (f.kv().WaitForTransfer()) continue;
  const StepPlan plan = f.Step();
  ASSERT_EQ(plan.sequences.size(), 1u);
  EXPECT_EQ(plan.sequences[0].sequence, loan);
  EXPECT_EQ(plan.sequences[0].start, 32);
  EXPECT_TRUE(plan.sequences[0].prefill);
  StepWhile(&f, [&] { return f.Find(loan) != nullptr; });
  EXPECT_EQ(f.Load(0).cost, 90 * kPrefillTokenCost + 10 * kSampledTokenCost);
}

// Blocks that others use as well stay where they are.
TEST(SchedulerSwapSharedTest, WhatIsSharedIsComputedAgain) {
  SchedulerFixture f(Swapping(), 9);
  f.EnableSwapping(8);
  ASSERT_TRUE(f.kv().EnablePrefixCache());
  f.scheduler().SetRecomputeCost(1);
  Request request;
  for (TokenId t = 0; t < 40; ++t) request.prompt.push_back(t);
  request.sampling.max_tokens = 60;
  f.Enqueue(request);
  f.Step();
  f.Enqueue(request);
  StepWhile(&f, [&] { return f.Load(0).preempted == 0; });
  EXPECT_EQ(f.Load(0).swapped_out, 0u);
  StepWhile(&f, [&] { return !f.scheduler().Live().empty(); });
}

}  // namespace
}  // namespace quire
