#include "core/sched/scheduler.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/sched/scheduler_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SchedulerTest, StartsTheWaitingInOrderOfArrival) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 4}, 64);
  const SequenceId a = f.Enqueue(3, 4), b = f.Enqueue(5, 4);
  EXPECT_THAT(f.Admit(), ElementsAre(a, b));
  EXPECT_EQ(f.scheduler().Find(a)->status(), RequestStatus::kRunning);
  EXPECT_EQ(f.scheduler().Find(a)->started_at(), kStart);
  EXPECT_EQ(f.scheduler().num_waiting(), 0);
  EXPECT_EQ(f.scheduler().num_running(), 2);
  EXPECT_THAT(f.Admit(), IsEmpty());
}

TEST(SchedulerTest, RunsNoMoreThanItMay) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 2}, 64);
  const SequenceId a = f.Enqueue(1, 4), b = f.Enqueue(1, 4), c = f.Enqueue(1, 4);
  EXPECT_THAT(f.Admit(), ElementsAre(a, b));
  EXPECT_THAT(f.Admit(), IsEmpty());
  f.Release(a);
  EXPECT_THAT(f.Admit(), ElementsAre(c));
}

TEST(SchedulerTest, TheHeadOfTheQueueWaitsForKvAndIsNotOvertaken) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 8}, 4);
  const SequenceId a = f.Enqueue(32, 1);                        // 2 blocks
  const SequenceId b = f.Enqueue(48, 1), c = f.Enqueue(16, 1);  // 3 and 1
  EXPECT_THAT(f.Admit(), ElementsAre(a)) << "c would fit but came later";
  EXPECT_EQ(f.scheduler().Find(b)->status(), RequestStatus::kWaiting);
  f.Release(a);
  EXPECT_THAT(f.Admit(), ElementsAre(b, c));
}

TEST(SchedulerTest, PromisesWhatASequenceCanEverNeedAndNotMore) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 8}, 4);
  f.Enqueue(17, 16);  // 32 positions need KV: 2 blocks
  f.Enqueue(16, 17);  // the same
  EXPECT_EQ(f.Admit().size(), 2u);
  EXPECT_EQ(f.kv().Budget().FreeBytes(), 0);
  SchedulerFixture g({.max_step_tokens = 64, .max_running_sequences = 8}, 4);
  g.Enqueue(17, 17);  // 33 positions: 3 blocks
  g.Enqueue(17, 16);
  EXPECT_EQ(g.Admit().size(), 1u);
}

TEST(SchedulerTest, FencedBlocksKeepTheQueueWaiting) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 8}, 2);
  const SequenceId a = f.Enqueue(20, 1), b = f.Enqueue(20, 1);
  f.Admit();
  const StepPlan plan = f.Launch();
  f.Release(a);
  EXPECT_THAT(f.Admit(), IsEmpty()) << "the launched step may still touch its blocks";
  f.kv().StepCompleted(plan.id);
  EXPECT_THAT(f.Admit(), ElementsAre(b));
}

TEST(SchedulerTest, FindsAndListsTheRunningAndTheWaiting) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 1}, 64);
  const SequenceId a = f.Enqueue(1, 4), b = f.Enqueue(1, 4);
  f.Admit();
  EXPECT_EQ(f.scheduler().Find(a)->id(), a);
  EXPECT_EQ(f.scheduler().Find(b)->id(), b);
  EXPECT_EQ(f.scheduler().Find(SequenceId(9)), nullptr);
  EXPECT_THAT(f.scheduler().Live(), ElementsAre(f.scheduler().Find(a), f.scheduler().Find(b)));
}

TEST(SchedulerTest, ReleaseForgetsWhetherItRunsOrWaits) {
  SchedulerFixture f({.max_step_tokens = 64, .max_running_sequences = 1}, 64);
  const SequenceId a = f.Enqueue(1, 4), b = f.Enqueue(1, 4);
  f.Admit();
  EXPECT_EQ(f.scheduler().Release(b, StepId())->id(), b);
  EXPECT_EQ(f.scheduler().Release(a, StepId())->id(), a);
  EXPECT_EQ(f.scheduler().Release(a, StepId()), nullptr);
  EXPECT_THAT(f.scheduler().Live(), IsEmpty());
  EXPECT_TRUE(f.scheduler().PlanStep(StepId(1)).empty());
}

TEST(SchedulerDeathTest, EveryRunningSequenceMustFitIntoAStep) {
  SchedulerFixture f({.max_step_tokens = 2, .max_running_sequences = 2}, 4);
  EXPECT_DEATH(Scheduler({.max_step_tokens = 1, .max_running_sequences = 2}, &f.kv()),
               "max_step_tokens");
  EXPECT_DEATH(Scheduler({.max_step_tokens = 1, .max_running_sequences = 0}, &f.kv()),
               "max_running_sequences");
}

// Tenant 1 has computed four of eight blocks, which its floor protects.
class SchedulerFloorTest : public ::testing::Test {
 protected:
  SchedulerFloorTest() {
    EXPECT_TRUE(f_.kv().EnablePrefixCache());
    f_.scheduler().SetTenants(MakeTenants(2));
    f_.Be(1);
    f_.Enqueue(64, 1);
    f_.Step();
    EXPECT_EQ(f_.kv().Snapshot().classes[0].cached_blocks, 4);
    f_.Be(0);
  }
  void RaiseFloor() {
    TenantTable tenants = MakeTenants(2);
    tenants[1].prefix_floor_bytes = 4 * kBlockBytes;
    f_.scheduler().SetTenants(tenants);
  }

  SchedulerFixture f_{{.max_step_tokens = 256, .max_running_sequences = 8}, 8};
};

TEST_F(SchedulerFloorTest, WhatFloorsProtectIsNotThereForARequest) {
  const SequenceId four = f_.Enqueue(60, 1), five = f_.Enqueue(70, 1);
  EXPECT_TRUE(f_.scheduler().CanEverRun(*f_.Find(five)));
  RaiseFloor();
  EXPECT_TRUE(f_.scheduler().CanEverRun(*f_.Find(four)));
  EXPECT_FALSE(f_.scheduler().CanEverRun(*f_.Find(five)));
}

TEST_F(SchedulerFloorTest, AFloorThatWasRaisedSinceDoesNotStopWhoIsAlone) {
  const SequenceId five = f_.Enqueue(70, 1);
  RaiseFloor();
  EXPECT_THAT(f_.Admit(), ElementsAre(five));
}

}  // namespace
}  // namespace quire
