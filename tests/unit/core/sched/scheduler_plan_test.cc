#include "core/sched/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/sched/scheduler_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr SchedulerOptions kEightTokens{
    .max_step_tokens = 8, .max_running_sequences = 4, .max_scored_tokens = 5};

TEST(SchedulerPlanTest, NothingRunningMeansAnEmptyPlan) {
  SchedulerFixture f(kEightTokens, 64);
  f.Enqueue(3, 4);
  const StepPlan plan = f.scheduler().PlanStep(StepId(5));
  EXPECT_TRUE(plan.empty()) << "the waiting are not planned";
  EXPECT_EQ(plan.id, StepId(5));
  EXPECT_EQ(plan.num_tokens, 0);
}

TEST(SchedulerPlanTest, AShortPromptIsOneSamplingStep) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(8, 4);
  f.Admit();
  const StepPlan plan = f.Launch();
  ASSERT_THAT(plan.sequences, SizeIs(1));
  const SequenceStep& step = plan.sequences[0];
  EXPECT_EQ(step.sequence, a);
  EXPECT_EQ(step.start, 0);
  EXPECT_EQ(step.num_tokens, 8);
  EXPECT_TRUE(step.sample);
  EXPECT_EQ(step.feedback_row, -1);
  EXPECT_THAT(step.tokens, ElementsAreArray(f.scheduler().Find(a)->tokens()));
  EXPECT_EQ(plan.num_tokens, 8);
  EXPECT_EQ(plan.num_logit_rows, 1);
}

TEST(SchedulerPlanTest, ALongPromptIsCutIntoGaplessChunks) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(20, 4);
  f.Admit();
  const std::span<const TokenId> prompt = f.scheduler().Find(a)->tokens();
  const struct {
    int32_t start, tokens;
    bool sample;
  } chunks[] = {{0, 8, false}, {8, 8, false}, {16, 4, true}};
  for (const auto& chunk : chunks) {
    const StepPlan plan = f.Launch();
    ASSERT_THAT(plan.sequences, SizeIs(1));
    EXPECT_EQ(plan.sequences[0].start, chunk.start);
    EXPECT_EQ(plan.sequences[0].sample, chunk.sample);
    EXPECT_EQ(plan.num_logit_rows, chunk.sample ? 1 : 0);
    EXPECT_THAT(plan.sequences[0].tokens,
                ElementsAreArray(prompt.subspan(static_cast<size_t>(chunk.start),
                                                static_cast<size_t>(chunk.tokens))));
  }
}

TEST(SchedulerPlanTest, PlanningChangesNothing) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(20, 4);
  f.Admit();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(f.scheduler().PlanStep(StepId(1)).sequences[0].start, 0);
    EXPECT_EQ(f.scheduler().Find(a)->launched(), 0);
  }
}

TEST(SchedulerPlanTest, DecodeRowsComeFirstAndChunksShareWhatIsLeft) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(30, 4), b = f.Enqueue(2, 4);
  f.Admit();
  f.Commit(f.Launch(), 1);  // a: 8 of 30
  f.Commit(f.Launch(), 1);  // 16
  f.Commit(f.Launch(), 1);  // 24
  f.Commit(f.Launch(), 1);  // 30, and b's prompt
  const SequenceId c = f.Enqueue(30, 4), d = f.Enqueue(2, 4);
  f.Admit();
  const StepPlan plan = f.Launch();
  ASSERT_THAT(plan.sequences, SizeIs(3));
  EXPECT_EQ(plan.sequences[0].sequence, a);
  EXPECT_EQ(plan.sequences[1].sequence, b);
  EXPECT_EQ(plan.sequences[2].sequence, c);
  EXPECT_EQ(plan.sequences[2].num_tokens, 6);
  EXPECT_EQ(plan.num_tokens, 8);
  EXPECT_EQ(plan.num_logit_rows, 2);
  EXPECT_EQ(f.scheduler().Find(d)->launched(), 0) << "no budget was left";
}

TEST(SchedulerPlanTest, WithTheLastTokenKnownADecodeRowCarriesIt) {
  SchedulerFixture f(kEightTokens, 64);
  f.Enqueue(3, 4);
  f.Admit();
  f.Commit(f.Launch(), 77);
  const StepPlan plan = f.Launch();
  ASSERT_THAT(plan.sequences, SizeIs(1));
  EXPECT_EQ(plan.sequences[0].start, 3);
  EXPECT_EQ(plan.sequences[0].feedback_row, -1);
  EXPECT_THAT(plan.sequences[0].tokens, ElementsAre(77));
}

TEST(SchedulerPlanTest, WithTheLastTokenOnItsWayADecodeRowNamesItsLogitRow) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(2, 4), b = f.Enqueue(3, 4), c = f.Enqueue(9, 4);
  f.Admit();
  const StepPlan first = f.Launch();  // 2 + 3 + 3 tokens; rows: a, b
  EXPECT_EQ(first.num_logit_rows, 2);
  const StepPlan second = f.Launch();
  ASSERT_THAT(second.sequences, SizeIs(3));
  EXPECT_EQ(second.sequences[0].sequence, a);
  EXPECT_EQ(second.sequences[0].feedback_row, 0);
  EXPECT_THAT(second.sequences[0].tokens, IsEmpty());
  EXPECT_EQ(second.sequences[1].sequence, b);
  EXPECT_EQ(second.sequences[1].feedback_row, 1);
  EXPECT_EQ(second.sequences[2].sequence, c);
  EXPECT_EQ(second.sequences[2].feedback_row, -1);
  f.Commit(first, 50);
  f.Release(a);
  const StepPlan third = f.Launch();  // the second step's rows: a, b, c
  ASSERT_THAT(third.sequences, SizeIs(2));
  EXPECT_EQ(third.sequences[0].sequence, b);
  EXPECT_EQ(third.sequences[0].feedback_row, 1);
  EXPECT_EQ(third.sequences[1].sequence, c);
  EXPECT_EQ(third.sequences[1].feedback_row, 2);
}

TEST(SchedulerPlanTest, OnlySamplingSequencesTakeALogitRow) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(10, 4), b = f.Enqueue(3, 4), c = f.Enqueue(2, 4);
  f.Admit();
  StepPlan plan;
  plan.sequences.resize(3);
  const SequenceId order[] = {a, b, c};
  const int32_t tokens[] = {3, 3, 2};
  for (size_t i = 0; i < 3; ++i) {
    plan.sequences[i].sequence = order[i];
    plan.sequences[i].num_tokens = tokens[i];
    plan.sequences[i].prefill = true;
    plan.sequences[i].sample = order[i] != a;
  }
  f.scheduler().OnLaunched(plan);
  EXPECT_EQ(f.scheduler().Find(a)->pending_samples(), 0);
  EXPECT_EQ(f.scheduler().Find(b)->pending_row(), 0);
  EXPECT_EQ(f.scheduler().Find(c)->pending_row(), 1);
}

TEST(SchedulerPlanTest, AScoredPromptNamesTheTokenBehindEachOfItsTokensButTheLast) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(8, 4, 2);
  f.Admit();
  const std::span<const TokenId> prompt = f.scheduler().Find(a)->tokens();
  const struct {
    int32_t tokens, targets;
    bool sample;
  } chunks[] = {{5, 5, false}, {3, 2, true}, {1, 0, true}};
  size_t next = 1;
  for (const auto& chunk : chunks) {
    const StepPlan plan = f.Launch();
    ASSERT_THAT(plan.sequences, SizeIs(1));
    const SequenceStep& step = plan.sequences[0];
    EXPECT_EQ(step.num_tokens, chunk.tokens);
    EXPECT_EQ(step.sample, chunk.sample);
    EXPECT_EQ(step.prefill, chunk.targets > 0);
    ASSERT_EQ(step.num_targets, chunk.targets);
    EXPECT_EQ(plan.num_logit_rows, chunk.targets + (chunk.sample ? 1 : 0));
    for (TokenId target : step.targets) EXPECT_EQ(target, prompt[next++]);
    EXPECT_EQ(step.target_alternatives, chunk.targets > 0 ? 2 : 0);
  }
  EXPECT_EQ(next, 8u);
}

TEST(SchedulerPlanTest, TargetsComeBeforeTheSampleInTheLogitRows) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(3, 4, 0), b = f.Enqueue(3, 4, 0);
  f.Admit();
  EXPECT_EQ(f.Launch().num_logit_rows, 6);  // 2 targets and a sample each
  EXPECT_EQ(f.scheduler().Find(a)->pending_row(), 2);
  EXPECT_EQ(f.scheduler().Find(b)->pending_row(), 5);
}

TEST(SchedulerPlanTest, WhoHasAllItsTokensOnTheirWayIsNotPlanned) {
  SchedulerFixture f(kEightTokens, 64);
  f.Enqueue(3, 2);
  f.Admit();
  const StepPlan first = f.Launch(), second = f.Launch();
  EXPECT_TRUE(f.scheduler().PlanStep(StepId(9)).empty());
  f.Commit(first, 5);
  EXPECT_TRUE(f.scheduler().PlanStep(StepId(9)).empty());
  f.Commit(second, 6);
  EXPECT_TRUE(f.scheduler().PlanStep(StepId(9)).empty());
}

TEST(SchedulerPlanDeathTest, AReleasedSequenceCannotBeLaunched) {
  SchedulerFixture f(kEightTokens, 64);
  const SequenceId a = f.Enqueue(3, 2);
  f.Admit();
  const StepPlan plan = f.scheduler().PlanStep(StepId(1));
  f.Release(a);
  EXPECT_DEATH(f.scheduler().OnLaunched(plan), "does not run");
}

}  // namespace
}  // namespace quire
