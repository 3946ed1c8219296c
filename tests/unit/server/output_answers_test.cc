#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/output_stream.h"
#include "tests/unit/server/fake_stream_writer.h"

// A call with several answers, and messages of a size the client asked for.

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Call {
  explicit Call(OutputShape shape, size_t max_pending_bytes = 100)
      : stream(&writer, {max_pending_bytes}, shape) {}

  // Finishes every write until none is in flight.
  void FinishWrites() {
    while (writer.FinishWrite(&stream)) {
    }
  }

  FakeStreamWriter writer;
  OutputStream stream;
};

OutputChunk Ended(int32_t index, int32_t generated, FinishReason reason = FinishReason::kStop,
                  absl::Status status = absl::OkStatus()) {
  OutputChunk chunk = EndChunk(reason, std::move(status), index);
  chunk.finish->prompt_tokens = 10;
  chunk.finish->cached_tokens = index == 0 ? 4 : 8;
  chunk.finish->generated_tokens = generated;
  chunk.finish->queue_time = std::chrono::seconds(3 + index);
  chunk.finish->time_to_first_token = std::chrono::seconds(7 - index);
  return chunk;
}

TEST(OutputAnswersTest, EachMessageBelongsToOneAnswerAndTheOldestGoesFirst) {
  Call call({.answers = 3, .message_interval = 1});
  call.stream.Push(TokenChunk(1, "a", 1));
  call.stream.Push(TokenChunk(2, "b", 2));
  call.stream.Push(TokenChunk(3, "c", 0));
  call.stream.Push(TokenChunk(4, "d", 2));
  call.FinishWrites();
  EXPECT_THAT(call.writer.summaries(), ElementsAre("1:a", "2:bd", "0:c"));
  EXPECT_FALSE(call.writer.broke_the_rules()) << "token offsets count by answer";
}

TEST(OutputAnswersTest, AnAnswerThatNeverStartedHasFoundNothingAndComputedNothing) {
  AnswerTotals totals;
  FinishInfo cancelled, answered;
  answered.cached_tokens = 8;
  answered.generated_tokens = 3;
  totals.Add(cancelled);
  totals.Add(answered);
  totals.Add(cancelled);
  EXPECT_EQ(totals.cached_tokens, 8);
}

TEST(OutputAnswersTest, TheCallEndsWithTheLastAnswerAndItsTotals) {
  Call call({.answers = 3, .message_interval = 1});
  call.stream.Push(TokenChunk(1, "a", 0));
  call.FinishWrites();
  call.stream.Push(Ended(0, 5));
  call.FinishWrites();
  EXPECT_THAT(call.writer.statuses(), IsEmpty());
  call.stream.Push(Ended(2, 7));
  call.FinishWrites();
  call.stream.Push(Ended(1, 6));
  EXPECT_THAT(call.writer.statuses(), ElementsAre(absl::OkStatus()));
  EXPECT_THAT(call.writer.summaries(), ElementsAre("0:a", "0:.", "2:.", "1:."));
  ASSERT_NE(call.writer.totals(), nullptr);
  EXPECT_EQ(call.writer.totals()->prompt_tokens, 10);
  EXPECT_EQ(call.writer.totals()->cached_tokens, 4) << "the others found what the first computed";
  EXPECT_EQ(call.writer.totals()->generated_tokens, 18);
  EXPECT_EQ(call.writer.totals()->queue_time, std::chrono::seconds(3));
  EXPECT_EQ(call.writer.totals()->time_to_first_token, std::chrono::seconds(5));
}

TEST(OutputAnswersTest, WhatIsPendingAtTheEndIsWrittenBeforeIt) {
  Call call({.answers = 3, .message_interval = 1});
  call.stream.Push(TokenChunk(1, "a", 0));
  for (int32_t index : {2, 0, 1}) {
    call.stream.Push(TokenChunk(9, "x", index));
    call.stream.Push(Ended(index, 1));
  }
  call.FinishWrites();
  EXPECT_THAT(call.writer.summaries(), ElementsAre("0:a", "2:x.", "0:x.", "1:x."));
  EXPECT_THAT(call.writer.statuses(), ElementsAre(absl::OkStatus()));
  EXPECT_FALSE(call.writer.broke_the_rules());
}

TEST(OutputAnswersTest, OneThatFailsLeavesTheOthersAndItsStatusIsTheCalls) {
  Call call({.answers = 2, .message_interval = 1});
  call.stream.Push(Ended(1, 0, FinishReason::kError, absl::InternalError("nan")));
  call.FinishWrites();
  call.stream.Push(TokenChunk(1, "a", 0));
  call.FinishWrites();
  call.stream.Push(Ended(0, 1));
  EXPECT_THAT(call.writer.summaries(), ElementsAre("1:.", "0:a", "0:."));
  EXPECT_THAT(call.writer.statuses(), ElementsAre(absl::InternalError("nan")));
}

TEST(OutputAnswersTest, WhereAllFailBeforeAnyMessageTheStatusIsAlone) {
  Call call({.answers = 2, .message_interval = 50});
  for (int32_t index : {0, 1}) {
    OutputChunk end = Ended(index, 0, FinishReason::kDeadline, absl::DeadlineExceededError("late"));
    call.stream.Push(std::move(end));
  }
  EXPECT_THAT(call.writer.statuses(), ElementsAre(absl::DeadlineExceededError("late")));
}

TEST(OutputAnswersTest, AClientThatGoesEndsAllAnswersAtOnce) {
  Call call({.answers = 2, .message_interval = 1});
  call.stream.Push(TokenChunk(1, "a", 0));
  call.stream.Push(TokenChunk(1, "b", 1));
  call.stream.Push(TokenChunk(2, "c", 0));
  call.stream.ClientGone();
  call.writer.FinishWrite(&call.stream, /*ok=*/false);
  EXPECT_THAT(call.writer.statuses(), ElementsAre(absl::CancelledError("the call was cancelled")));
  EXPECT_THAT(call.writer.cancels(), ElementsAre(CancelCause::kClientGone)) << "of the whole call";
  EXPECT_THAT(call.writer.summaries(), ElementsAre("0:a"));
}

TEST(OutputAnswersTest, TheBoundHoldsForAllAnswersTogether) {
  Call call({.answers = 2, .message_interval = 1});
  call.stream.Push(TokenChunk(1, "a", 0));
  call.stream.Push(TokenChunk(2, std::string(60, 'b'), 0));
  call.stream.Push(TokenChunk(3, std::string(60, 'c'), 1));
  EXPECT_THAT(call.writer.cancels(), ElementsAre(CancelCause::kSlowReader));
  for (int32_t index : {0, 1}) {
    call.stream.Push(Ended(index, 1, FinishReason::kCancelled, absl::CancelledError("")));
  }
  call.FinishWrites();
  EXPECT_EQ(call.writer.statuses()[0].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(call.writer.summaries(),
              ElementsAre("0:a", "0:" + std::string(60, 'b') + ".", "1:."));
}

TEST(OutputAnswersTest, AMessageWaitsForItsTokensOrTheEnd) {
  Call call({.answers = 2, .message_interval = 3});
  call.stream.Push(TokenChunk(1, "a", 0));
  call.stream.Push(TokenChunk(1, "A", 1));
  call.stream.Push(TokenChunk(2, "b", 0));
  EXPECT_EQ(call.writer.messages(), 0);
  call.stream.Push(TokenChunk(3, "c", 0));
  EXPECT_THAT(call.writer.summaries(), ElementsAre("0:abc"));
  call.FinishWrites();
  call.stream.Push(TokenChunk(4, "d", 0));
  EXPECT_EQ(call.writer.messages(), 1);
  call.stream.Push(Ended(1, 1));
  call.FinishWrites();
  call.stream.Push(Ended(0, 4));
  EXPECT_THAT(call.writer.summaries(), ElementsAre("0:abc", "1:A.", "0:d."));
}

TEST(OutputAnswersTest, ALongIntervalDoesNotGatherBeyondHalfTheBound) {
  Call call({.answers = 1, .message_interval = 1000});
  call.stream.Push(TokenChunk(1, std::string(40, 'a')));
  EXPECT_EQ(call.writer.messages(), 0);
  call.stream.Push(TokenChunk(2, std::string(40, 'b')));
  EXPECT_EQ(call.writer.messages(), 1);
  EXPECT_THAT(call.writer.cancels(), IsEmpty());
}

TEST(OutputAnswersTest, APromptGoesOutAtOnceAndItsEchoIsNoPayload) {
  Call call({.answers = 2, .message_interval = 100});
  OutputChunk other = TokenChunk(1, std::string(60, 'x'), 1);
  call.stream.Push(std::move(other));  // a write is in flight from here on
  OutputChunk chunk = TokenChunk(2, "a", 0);
  chunk.prompt.text = std::string(1000, 'p');
  chunk.prompt.tokens.assign(1000, 7);
  call.stream.Push(std::move(chunk));
  EXPECT_THAT(call.writer.cancels(), IsEmpty());
  call.writer.FinishWrite(&call.stream);
  EXPECT_EQ(call.writer.summaries()[1], "0:" + std::string(1000, 'p') + "|a");
}

TEST(OutputAnswersTest, AfterAMessageOfThePromptAnErrorHasALastMessage) {
  Call call({});
  OutputChunk scores;
  scores.prompt.logprobs = {-1, -2};
  call.stream.Push(std::move(scores));
  call.FinishWrites();
  call.stream.Push(Ended(0, 0, FinishReason::kDeadline, absl::DeadlineExceededError("late")));
  EXPECT_THAT(call.writer.prompt_logprobs(), ElementsAre(-1, -2));
  EXPECT_NE(call.writer.last_message(), nullptr);
  EXPECT_THAT(call.writer.statuses(), ElementsAre(absl::DeadlineExceededError("late")));
}

}  // namespace
}  // namespace quire::server
