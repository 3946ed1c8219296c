#include <numeric>

#include "core/request/sequence.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

// A sequence that is preempted and started again.

namespace quire {
namespace {

using ::testing::ElementsAre;

TimePoint At(int ms) { return TimePoint(std::chrono::milliseconds(ms)); }

Sequence MakeSequence(int32_t prompt_tokens, int32_t max_tokens, int32_t prompt_logprobs = -1) {
  Request request;
  request.id = RequestId(7);
  request.prompt.resize(static_cast<size_t>(prompt_tokens));
  std::iota(request.prompt.begin(), request.prompt.end(), 100);
  request.sampling.max_tokens = max_tokens;
  request.sampling.prompt_logprobs = prompt_logprobs;
  return {SequenceId(1), std::move(request)};
}

// With a prompt of 4 tokens, an answer of 2, and a third token on its way.
Sequence Decoding() {
  Sequence s = MakeSequence(4, 10);
  s.Start(At(1), 0);
  s.OnLaunched(4, 0);
  s.CommitToken(8, At(2));
  s.OnLaunched(1, 0);
  s.CommitToken(9, At(3));
  s.OnLaunched(1, 5);
  return s;
}

TEST(SequencePreemptTest, ItWaitsUnderANewIdWithTheTokensThatAreKnown) {
  Sequence s = Decoding();
  s.Preempt(SequenceId(2));
  EXPECT_EQ(s.id(), SequenceId(2));
  EXPECT_EQ(s.request().id, RequestId(7));
  EXPECT_EQ(s.status(), RequestStatus::kWaiting);
  EXPECT_EQ(s.preemptions(), 1);
  EXPECT_THAT(s.tokens(), ElementsAre(100, 101, 102, 103, 8, 9));
  EXPECT_EQ(s.pending_samples(), 0) << "what is on its way is dropped";
  EXPECT_EQ(s.pending_row(), -1);
  EXPECT_EQ(s.launched(), 0);
  EXPECT_EQ(s.prompt_tokens(), 4);
  EXPECT_EQ(s.generated_tokens(), 2);
  EXPECT_EQ(s.max_kv_tokens(), 13);
}

TEST(SequencePreemptTest, ItsAnswerIsPrefilledWithItsPrompt) {
  Sequence s = Decoding();
  EXPECT_EQ(s.prefill_tokens(), 4);
  s.Preempt(SequenceId(2));
  EXPECT_EQ(s.prefill_tokens(), 6);
  EXPECT_TRUE(s.InPrefill());
  s.Start(At(9), 0);
  EXPECT_EQ(s.RunnableTokens(), 6);
  s.OnLaunched(4, -1);
  EXPECT_TRUE(s.InPrefill()) << "the prompt alone is not enough";
  s.OnLaunched(2, 3);
  EXPECT_FALSE(s.InPrefill());
  EXPECT_EQ(s.pending_samples(), 1);
  s.CommitToken(10, At(10));
  EXPECT_THAT(s.tokens(), ElementsAre(100, 101, 102, 103, 8, 9, 10));
  EXPECT_EQ(s.RunnableTokens(), 1);
}

TEST(SequencePreemptTest, TheTokensItMayStillGenerateAreCountedOn) {
  Sequence s = MakeSequence(4, 2);
  s.Start(At(1), 0);
  s.OnLaunched(4, 0);
  s.CommitToken(8, At(2));
  s.OnLaunched(1, 0);
  EXPECT_EQ(s.RunnableTokens(), 0);
  s.Preempt(SequenceId(2));
  s.Start(At(3), 0);
  s.OnLaunched(5, 0);
  EXPECT_EQ(s.RunnableTokens(), 0) << "the second token is on its way again";
}

TEST(SequencePreemptTest, KeepsTheTimesAndTheHitsOfItsFirstStart) {
  Sequence s = MakeSequence(40, 10);
  s.Start(At(5), 16);
  s.OnLaunched(24, 0);
  s.CommitToken(8, At(6));
  s.Preempt(SequenceId(2));
  EXPECT_EQ(s.cached_tokens(), 16);
  s.Start(At(50), 32);
  EXPECT_EQ(s.started_at(), At(5));
  EXPECT_EQ(s.cached_tokens(), 16);
  EXPECT_EQ(s.launched(), 32);
  EXPECT_EQ(s.RunnableTokens(), 9);
  EXPECT_EQ(s.first_token_at(), At(6));
}

TEST(SequencePreemptTest, OnlyPromptTokensThatWereNeverComputedAreNew) {
  Sequence s = MakeSequence(40, 10);
  s.Start(At(1), 16);
  EXPECT_EQ(s.NewPromptTokens(24), 24);
  EXPECT_EQ(s.NewPromptTokens(100), 24) << "an answer's tokens are none of the prompt";
  s.OnLaunched(10, -1);
  EXPECT_EQ(s.NewPromptTokens(4), 4);
  s.Preempt(SequenceId(2));
  s.Start(At(2), 0);
  EXPECT_EQ(s.NewPromptTokens(26), 0);
  EXPECT_EQ(s.NewPromptTokens(30), 4);
  s.OnLaunched(40, 0);
  s.CommitToken(8, At(3));
  EXPECT_EQ(s.NewPromptTokens(1), 0);
  s.Preempt(SequenceId(3));
  s.Start(At(4), 0);
  EXPECT_EQ(s.NewPromptTokens(41), 0);
}

TEST(SequencePreemptTest, AChunkEndsWhereScoresWereReportedAlready) {
  Sequence s = MakeSequence(40, 10, 0);
  s.Start(At(1), 0);
  s.OnLaunched(20, -1);
  s.CommitScores(20);
  s.OnLaunched(10, -1);  // not committed: these scores are dropped
  s.Preempt(SequenceId(2));
  s.Start(At(2), 0);
  EXPECT_EQ(s.RunnableTokens(), 20);
  EXPECT_EQ(s.UnscoredTokens(), 0);
  s.OnLaunched(8, -1);
  EXPECT_EQ(s.RunnableTokens(), 12);
  s.OnLaunched(12, -1);
  EXPECT_EQ(s.RunnableTokens(), 20);
  EXPECT_EQ(s.UnscoredTokens(), 19) << "all but the prompt's last token tell of the next";
}

TEST(SequencePreemptTest, NoneOfAnAnswerIsScored) {
  Sequence s = MakeSequence(4, 10, 0);
  s.Start(At(1), 0);
  s.OnLaunched(4, 0);
  s.CommitToken(8, At(2));  // before the scores, which are lost
  s.Preempt(SequenceId(2));
  s.Start(At(3), 0);
  EXPECT_EQ(s.RunnableTokens(), 5);
  EXPECT_EQ(s.UnscoredTokens(), 3);
}

TEST(SequencePreemptTest, WhatIsToBeScoredIsNotTakenFromOthers) {
  EXPECT_EQ(MakeSequence(40, 10).ReusableTokens(), 40);
  Sequence s = MakeSequence(40, 10, 2);
  EXPECT_EQ(s.ReusableTokens(), 0);
  s.Start(At(1), 0);
  s.OnLaunched(20, -1);
  s.CommitScores(20);
  EXPECT_EQ(s.ReusableTokens(), 20);
  s.OnLaunched(20, 0);
  s.CommitScores(39);
  s.CommitToken(8, At(2));
  EXPECT_EQ(s.ReusableTokens(), 41) << "all is scored: the answer's tokens, too";
}

TEST(SequencePreemptTest, CountsTheStepsItHasWaitedForPrefixes) {
  Sequence s = MakeSequence(4, 10);
  EXPECT_EQ(s.prefix_wait(), 0);
  s.AddPrefixWait(3);
  s.AddPrefixWait(4);
  EXPECT_EQ(s.prefix_wait(), 7);
}

TEST(SequencePreemptDeathTest, OnlyARunningSequenceIsPreempted) {
  Sequence s = MakeSequence(4, 10);
  EXPECT_DEATH(s.Preempt(SequenceId(2)), "kRunning");
}

TEST(SequencePreemptTest, SwappedOutItKeepsEverythingAndGoesOnWhereItWas) {
  Sequence s = Decoding();
  s.SwapOut(/*tokens=*/16);
  EXPECT_EQ(s.id(), SequenceId(1));
  EXPECT_EQ(s.status(), RequestStatus::kWaiting);
  EXPECT_EQ(s.preemptions(), 1);
  EXPECT_EQ(s.swapped_tokens(), 16);
  EXPECT_EQ(s.pending_samples(), 1);
  s.CommitToken(10, At(4));
  s.SwapIn();
  EXPECT_EQ(s.status(), RequestStatus::kRunning);
  EXPECT_EQ(s.swapped_tokens(), 0);
  EXPECT_THAT(s.tokens(), ElementsAre(100, 101, 102, 103, 8, 9, 10));
  EXPECT_EQ(s.launched(), 6);
  EXPECT_FALSE(s.InPrefill());
  EXPECT_EQ(s.RunnableTokens(), 1);
  EXPECT_EQ(s.pending_row(), -1) << "the next token's id is known";
}

TEST(SequencePreemptDeathTest, NothingMayBeOnItsWayWhenItComesBack) {
  Sequence s = Decoding();
  s.SwapOut(16);
  EXPECT_DEATH(s.SwapIn(), "");
  EXPECT_DEATH(s.Start(At(5), 0), "") << "that is for sequences without KV";
}

}  // namespace
}  // namespace quire
