#include "core/request/sequence.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

TimePoint At(int ms) { return TimePoint(std::chrono::milliseconds(ms)); }

Sequence MakeSequence(int32_t prompt_tokens, int32_t max_tokens) {
  Request request;
  request.id = RequestId(7);
  for (int32_t i = 0; i < prompt_tokens; ++i) request.prompt.push_back(100 + i);
  request.sampling.max_tokens = max_tokens;
  return {SequenceId(1), std::move(request)};
}

TEST(SequenceTest, BeginsWithItsPromptAndWaits) {
  const Sequence s = MakeSequence(3, 5);
  EXPECT_EQ(s.id(), SequenceId(1));
  EXPECT_EQ(s.request().id, RequestId(7));
  EXPECT_EQ(s.status(), RequestStatus::kWaiting);
  EXPECT_THAT(s.tokens(), ElementsAre(100, 101, 102));
  EXPECT_EQ(s.prompt_tokens(), 3);
  EXPECT_EQ(s.generated_tokens(), 0);
  EXPECT_EQ(s.launched(), 0);
  EXPECT_EQ(s.pending_samples(), 0);
  EXPECT_EQ(s.RunnableTokens(), 3);
  EXPECT_TRUE(s.InPrefill());
}

TEST(SequenceTest, TheLastGeneratedTokenNeedsNoKv) {
  EXPECT_EQ(MakeSequence(3, 1).max_kv_tokens(), 3);
  EXPECT_EQ(MakeSequence(3, 5).max_kv_tokens(), 7);
}

TEST(SequenceTest, PrefillInChunksSamplesAtItsEnd) {
  Sequence s = MakeSequence(10, 5);
  s.Start(At(1), 0);
  s.OnLaunched(4, -1);
  EXPECT_EQ(s.RunnableTokens(), 6);
  EXPECT_TRUE(s.InPrefill());
  EXPECT_EQ(s.pending_samples(), 0);
  s.OnLaunched(6, 2);
  EXPECT_FALSE(s.InPrefill());
  EXPECT_EQ(s.launched(), 10);
  EXPECT_EQ(s.pending_samples(), 1);
  EXPECT_EQ(s.pending_row(), 2);
  EXPECT_EQ(s.RunnableTokens(), 1) << "the next token can be computed while this one is pending";
}

TEST(SequenceTest, WhatWasFoundOfThePromptIsNotComputed) {
  Sequence s = MakeSequence(10, 5);
  s.Start(At(1), 9);
  EXPECT_EQ(s.cached_tokens(), 9);
  EXPECT_EQ(s.launched(), 9);
  EXPECT_TRUE(s.InPrefill());
  EXPECT_EQ(s.RunnableTokens(), 1);
  Sequence whole = MakeSequence(10, 5);
  EXPECT_DEATH(whole.Start(At(1), 10), "cached_tokens");
}

TEST(SequenceTest, CommittedTokensFollowThePrompt) {
  Sequence s = MakeSequence(2, 5);
  s.Start(At(1), 0);
  s.OnLaunched(2, 0);
  s.CommitToken(8, At(10));
  s.OnLaunched(1, 3);
  EXPECT_EQ(s.pending_row(), 3);
  s.CommitToken(9, At(25));
  EXPECT_THAT(s.tokens(), ElementsAre(100, 101, 8, 9));
  EXPECT_EQ(s.generated_tokens(), 2);
  EXPECT_EQ(s.pending_samples(), 0);
  EXPECT_EQ(s.launched(), 3);
}

TEST(SequenceTest, TwoStepsMayBeOnTheirWay) {
  Sequence s = MakeSequence(2, 5);
  s.Start(At(1), 0);
  s.OnLaunched(2, 0);
  s.OnLaunched(1, 1);
  EXPECT_EQ(s.pending_samples(), 2);
  EXPECT_EQ(s.launched(), 3);
  s.CommitToken(8, At(2));
  EXPECT_EQ(s.pending_samples(), 1);
  EXPECT_EQ(s.RunnableTokens(), 1);
}

TEST(SequenceTest, LengthStopsAreCountedWithWhatIsOnItsWay) {
  Sequence s = MakeSequence(2, 2);
  s.Start(At(1), 0);
  s.OnLaunched(2, 0);
  EXPECT_EQ(s.RunnableTokens(), 1);
  s.OnLaunched(1, 0);
  EXPECT_EQ(s.RunnableTokens(), 0);
  s.CommitToken(8, At(2));
  EXPECT_EQ(s.RunnableTokens(), 0);
  s.CommitToken(9, At(3));
  EXPECT_EQ(s.RunnableTokens(), 0);
  EXPECT_EQ(s.launched(), s.max_kv_tokens());
}

TEST(SequenceTest, KeepsTheTimesOfItsStartItsFirstAndItsLastToken) {
  Sequence s = MakeSequence(1, 5);
  s.Start(At(5), 0);
  EXPECT_EQ(s.started_at(), At(5));
  EXPECT_EQ(s.status(), RequestStatus::kRunning);
  for (int t : {10, 20, 30}) {
    s.OnLaunched(1, 0);
    s.CommitToken(1, At(t));
    EXPECT_EQ(s.first_token_at(), At(10));
    EXPECT_EQ(s.last_token_at(), At(t));
  }
  s.Finish();
  EXPECT_EQ(s.status(), RequestStatus::kFinished);
}

TEST(SequenceTest, AllocatesNothingWhileItRuns) {
  Sequence s = MakeSequence(2, 300);
  const TokenId* const data = s.tokens().data();
  s.Start(At(1), 0);
  s.OnLaunched(2, 0);
  for (int i = 0; i < 300; ++i) {
    s.CommitToken(i, At(i));
    if (i < 299) s.OnLaunched(1, 0);
  }
  EXPECT_EQ(s.tokens().data(), data);
}

TEST(SequenceDeathTest, CursorsCannotRunPastEachOther) {
  Sequence s = MakeSequence(4, 1);
  EXPECT_DEATH(s.CommitToken(1, At(1)), "pending_samples_ > 0");
  EXPECT_DEATH(s.OnLaunched(5, 0), "check failed");
  EXPECT_DEATH(s.OnLaunched(0, -1), "check failed");
  EXPECT_DEATH(s.OnLaunched(2, 0), "a step samples once the prompt is complete");
  EXPECT_DEATH(s.OnLaunched(4, -1), "a step samples once the prompt is complete");
  s.Start(At(1), 0);
  EXPECT_DEATH(s.Start(At(1), 0), "kWaiting");
  s.OnLaunched(4, 0);
  EXPECT_DEATH(s.OnLaunched(1, 0), "check failed") << "max_tokens are on their way";
}

TEST(SequenceDeathTest, NeedsAPromptAndRoomForAToken) {
  EXPECT_DEATH(MakeSequence(0, 1), "prompt_tokens_ > 0");
  EXPECT_DEATH(MakeSequence(1, 0), "max_tokens > 0");
}

}  // namespace
}  // namespace quire
