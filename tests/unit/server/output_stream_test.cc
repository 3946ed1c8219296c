#include "server/output_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/fake_stream_writer.h"

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class OutputStreamTest : public ::testing::Test {
 protected:
  absl::StatusCode OnlyStatus() const {
    EXPECT_THAT(writer_.statuses(), SizeIs(1));
    return writer_.statuses().empty() ? absl::StatusCode::kUnknown : writer_.statuses()[0].code();
  }

  FakeStreamWriter writer_;
  OutputStream stream_{&writer_, {100}};
};

TEST_F(OutputStreamTest, APieceIsWrittenAtOnceWhenNoWriteIsInFlight) {
  stream_.Push(TokenChunk(7, "a"));
  EXPECT_EQ(writer_.messages(), 1);
  EXPECT_EQ(writer_.text(), "a");
}

TEST_F(OutputStreamTest, PiecesThatComeDuringAWriteShareTheNextMessage) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, "b"));
  stream_.Push(TokenChunk(3, "c"));
  EXPECT_EQ(writer_.messages(), 1);
  writer_.FinishWrite(&stream_);
  EXPECT_EQ(writer_.messages(), 2);
  EXPECT_EQ(writer_.text(), "abc");
  EXPECT_THAT(writer_.tokens(), ElementsAre(1, 2, 3));
  EXPECT_FALSE(writer_.broke_the_rules());
}

TEST_F(OutputStreamTest, NothingIsWrittenWhenNothingIsPending) {
  stream_.Push(TokenChunk(1, "a"));
  writer_.FinishWrite(&stream_);
  EXPECT_EQ(writer_.messages(), 1);
  EXPECT_THAT(writer_.statuses(), IsEmpty());
}

TEST_F(OutputStreamTest, ANormalEndSendsTheLastMessageWithOk) {
  stream_.Push(TokenChunk(1, "a"));
  writer_.FinishWrite(&stream_);
  stream_.Push(EndChunk(FinishReason::kLength));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
  ASSERT_NE(writer_.last_message(), nullptr);
  EXPECT_EQ(writer_.last_message()->reason, FinishReason::kLength);
}

TEST_F(OutputStreamTest, AnEmptyAnswerStillHasALastMessage) {
  stream_.Push(EndChunk(FinishReason::kStop));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
  EXPECT_NE(writer_.last_message(), nullptr);
}

TEST_F(OutputStreamTest, TheEndWaitsForTheWriteInFlightAndTakesWhatIsPendingWithIt) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, "b"));
  stream_.Push(EndChunk(FinishReason::kStop));
  EXPECT_THAT(writer_.statuses(), IsEmpty());
  writer_.FinishWrite(&stream_);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
  EXPECT_EQ(writer_.text(), "ab");
  EXPECT_EQ(writer_.messages(), 2);
}

TEST_F(OutputStreamTest, BeforeTheFirstTokenAnErrorIsAPlainStatus) {
  for (const absl::Status& status :
       {absl::DeadlineExceededError("late"), absl::UnavailableError("draining"),
        absl::InternalError("broken")}) {
    FakeStreamWriter writer;
    OutputStream stream(&writer, {100});
    stream.Push(EndChunk(FinishReason::kError, status));
    EXPECT_THAT(writer.statuses(), ElementsAre(status));
    EXPECT_EQ(writer.messages(), 0) << status;
  }
}

TEST_F(OutputStreamTest, AfterTheFirstTokenAnErrorSendsTheLastMessageBeforeItsStatus) {
  stream_.Push(TokenChunk(1, "a"));
  writer_.FinishWrite(&stream_);
  stream_.Push(EndChunk(FinishReason::kShutdown, absl::UnavailableError("draining")));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kUnavailable);
  ASSERT_NE(writer_.last_message(), nullptr);
  EXPECT_EQ(writer_.last_message()->reason, FinishReason::kShutdown);
}

TEST_F(OutputStreamTest, ATokenAndAnErrorInOnePieceCountAsAfterTheFirstToken) {
  OutputChunk chunk = EndChunk(FinishReason::kError, absl::InternalError("nan"));
  chunk.tokens = {5};
  stream_.Push(std::move(chunk));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kInternal);
  EXPECT_NE(writer_.last_message(), nullptr);
}

TEST_F(OutputStreamTest, ARefusalIsAPlainStatusAndCancelsNothing) {
  stream_.Refuse(absl::ResourceExhaustedError("full"));
  stream_.ClientGone();
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(writer_.cancels(), IsEmpty());
}

TEST_F(OutputStreamTest, ACancelBeforeTheFirstTokenEndsTheCallAtOnce) {
  stream_.ClientGone();
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kClientGone));
  stream_.Push(EndChunk(FinishReason::kCancelled, absl::CancelledError("")));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
}

TEST_F(OutputStreamTest, ACancelDuringAWriteWaitsForIt) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, "b"));
  stream_.ClientGone();
  EXPECT_THAT(writer_.statuses(), IsEmpty());
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kClientGone));
  writer_.FinishWrite(&stream_, /*ok=*/false);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
  EXPECT_EQ(writer_.messages(), 1) << "nothing is written to a client that is gone";
}

TEST_F(OutputStreamTest, ACancelBetweenTheLastPieceAndTheStatusGivesOneStatus) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(EndChunk(FinishReason::kStop));
  stream_.ClientGone();
  writer_.FinishWrite(&stream_, /*ok=*/false);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
  EXPECT_THAT(writer_.cancels(), IsEmpty()) << "the engine has ended the request already";
  EXPECT_EQ(writer_.messages(), 1) << "nothing is written to a client that is gone";
}

TEST_F(OutputStreamTest, ACancelAfterTheStatusChangesNothing) {
  stream_.Push(EndChunk(FinishReason::kStop));
  stream_.ClientGone();
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
  EXPECT_THAT(writer_.cancels(), IsEmpty());
}

TEST_F(OutputStreamTest, AFailedWriteMeansThatTheClientIsGone) {
  stream_.Push(TokenChunk(1, "a"));
  writer_.FinishWrite(&stream_, /*ok=*/false);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
  stream_.ClientGone();
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kClientGone)) << "once";
}

TEST_F(OutputStreamTest, DetachSaysHowAnAnsweredCallEnded) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, "b"));
  OutputChunk last = EndChunk(FinishReason::kStop);
  last.finish->prompt_tokens = 5;
  last.finish->generated_tokens = 2;
  stream_.Push(std::move(last));
  writer_.FinishWrite(&stream_);
  const StreamEnd end = stream_.Detach();
  EXPECT_TRUE(end.status.ok());
  EXPECT_EQ(end.tokens, 2);
  ASSERT_TRUE(end.totals.has_value());
  EXPECT_EQ(end.totals->prompt_tokens, 5);
  EXPECT_EQ(end.totals->generated_tokens, 2);
}

TEST_F(OutputStreamTest, DetachSaysHowFarACancelledCallHadCome) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, "b"));
  stream_.ClientGone();
  stream_.Push(EndChunk(FinishReason::kCancelled, absl::CancelledError("cancelled")));
  writer_.FinishWrite(&stream_, /*ok=*/false);
  const StreamEnd end = stream_.Detach();
  EXPECT_EQ(end.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(end.tokens, 2);
  EXPECT_FALSE(end.totals.has_value());
}

TEST_F(OutputStreamTest, AfterDetachNothingReachesTheWriter) {
  stream_.ClientGone();
  stream_.Detach();
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(EndChunk(FinishReason::kCancelled, absl::CancelledError("")));
  stream_.ClientGone();
  stream_.Abort();
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
  EXPECT_EQ(writer_.messages(), 0);
  EXPECT_EQ(writer_.aborts(), 0);
}

TEST_F(OutputStreamTest, APieceLargerThanTheBoundGoesOutWhereNothingWaits) {
  stream_.Push(TokenChunk(1, std::string(1000, 'x')));
  EXPECT_EQ(writer_.messages(), 1);
  EXPECT_THAT(writer_.cancels(), IsEmpty());
}

TEST_F(OutputStreamTest, WhatExactlyFillsTheBufferIsKept) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, std::string(100 - sizeof(TokenId), 'x')));
  EXPECT_THAT(writer_.cancels(), IsEmpty());
  stream_.Push(TokenChunk(3, ""));
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kSlowReader));
}

OutputChunk Scores(size_t count) {
  OutputChunk scores;
  scores.prompt.logprobs.resize(count, -1.0f);
  return scores;
}

TEST_F(OutputStreamTest, ScoresOfAPromptAreNotHeldAgainstASlowReader) {
  for (int chunk = 0; chunk < 10; ++chunk) stream_.Push(Scores(20));  // 80 bytes of 100
  stream_.Push(TokenChunk(7, "a"));
  stream_.Push(EndChunk(FinishReason::kLength));
  while (writer_.FinishWrite(&stream_)) {
  }
  EXPECT_THAT(writer_.cancels(), IsEmpty());
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
  EXPECT_THAT(writer_.prompt_logprobs(), SizeIs(200));
  EXPECT_EQ(writer_.text(), "a");
  EXPECT_EQ(writer_.messages(), 6) << "the first as it came, and then two at a time";
  EXPECT_FALSE(writer_.broke_the_rules());
}

TEST_F(OutputStreamTest, ScoresOfAPromptAreBoundedAllTheSame) {
  stream_.Push(Scores(1));
  for (int chunk = 0; chunk < 32; ++chunk) stream_.Push(Scores(25));  // 100 bytes
  EXPECT_THAT(writer_.cancels(), IsEmpty());
  stream_.Push(Scores(1));
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kSlowReader));
  stream_.Push(EndChunk(FinishReason::kCancelled, absl::CancelledError("")));
  while (writer_.FinishWrite(&stream_)) {
  }
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(writer_.prompt_logprobs(), SizeIs(1 + 32 * 25)) << "an intact beginning";
}

TEST_F(OutputStreamTest, ScoresOfAPromptLeaveTheAnswerItsRoom) {
  for (int chunk = 0; chunk < 3; ++chunk) stream_.Push(Scores(100));
  stream_.Push(TokenChunk(1, std::string(100 - sizeof(TokenId), 'x')));
  EXPECT_THAT(writer_.cancels(), IsEmpty());
  stream_.Push(TokenChunk(2, ""));
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kSlowReader));
}

TEST_F(OutputStreamTest, ASlowReaderIsCutOffWithAnIntactBeginning) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, std::string(90, 'b')));
  stream_.Push(TokenChunk(3, std::string(90, 'c')));  // one too many
  stream_.Push(TokenChunk(4, "d"));                   // would fit, but comes after a gap
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kSlowReader));
  EXPECT_THAT(writer_.statuses(), IsEmpty()) << "the engine has not ended it yet";

  // The cancel crosses an end of the answer's own, which what is missing makes untrue.
  OutputChunk end = EndChunk(FinishReason::kLength, absl::OkStatus());
  end.tokens = {5};
  end.text = "e";
  stream_.Push(std::move(end));
  writer_.FinishWrite(&stream_);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(writer_.statuses()[0].message()), HasSubstr("reads too slowly"));
  EXPECT_EQ(writer_.text(), "a" + std::string(90, 'b'));
  EXPECT_THAT(writer_.tokens(), ElementsAre(1, 2));
  EXPECT_FALSE(writer_.broke_the_rules());
  ASSERT_NE(writer_.last_message(), nullptr);
  EXPECT_EQ(writer_.last_message()->reason, FinishReason::kCancelled);
}

TEST_F(OutputStreamTest, ASlowReaderThatThenGoesAwayIsCancelledOnce) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, std::string(101, 'b')));
  stream_.ClientGone();
  writer_.FinishWrite(&stream_, /*ok=*/false);
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kSlowReader));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
}

TEST_F(OutputStreamTest, WithEnoughTokensBehindAWriteItsRequestIsPausedUntilTheWriteIsDone) {
  OutputStream stream(&writer_, {.bytes = 1000, .tokens = 2});
  stream.Push(TokenChunk(1, "a"));
  stream.Push(TokenChunk(2, "b"));
  EXPECT_THAT(writer_.pauses(), IsEmpty());
  stream.Push(TokenChunk(3, "c"));
  stream.Push(TokenChunk(4, "d"));  // of a step that was on its way
  EXPECT_THAT(writer_.pauses(), ElementsAre(true));
  writer_.FinishWrite(&stream);
  EXPECT_THAT(writer_.pauses(), ElementsAre(true, false));
  EXPECT_EQ(writer_.text(), "abcd");
  writer_.FinishWrite(&stream);
  EXPECT_THAT(writer_.pauses(), SizeIs(2));
}

TEST_F(OutputStreamTest, WithoutAWriteInFlightNothingIsPausedHoweverLongAMessageGathers) {
  OutputStream stream(&writer_, {.bytes = 1000, .tokens = 2}, {.message_interval = 10});
  for (TokenId token = 0; token < 10; ++token) stream.Push(TokenChunk(token, "a"));
  EXPECT_TRUE(writer_.write_in_flight());
  stream.Push(TokenChunk(10, "b"));
  stream.Push(TokenChunk(11, "b"));
  EXPECT_THAT(writer_.pauses(), ElementsAre(true));
  writer_.FinishWrite(&stream);
  EXPECT_FALSE(writer_.write_in_flight());
  EXPECT_THAT(writer_.pauses(), ElementsAre(true, false));
}

TEST_F(OutputStreamTest, EachAnswerThatGoesOnMayHaveSoManyTokens) {
  OutputStream stream(&writer_, {.bytes = 1000, .tokens = 2}, {.answers = 3});
  stream.Push(TokenChunk(1, "a", 0));
  for (int32_t index : {0, 1, 2}) stream.Push(TokenChunk(2, "b", index));
  stream.Push(TokenChunk(3, "c", 1));
  EXPECT_THAT(writer_.pauses(), IsEmpty());
  stream.Push(EndChunk(FinishReason::kStop, absl::OkStatus(), 0));
  EXPECT_THAT(writer_.pauses(), ElementsAre(true)) << "four tokens are two for each of two";
  // The first message to go out leaves too few behind it.
  writer_.FinishWrite(&stream);
  EXPECT_THAT(writer_.pauses(), ElementsAre(true, false));
}

TEST_F(OutputStreamTest, WhoIsCancelledOrHasEndedIsNotPaused) {
  for (const bool gone : {false, true}) {
    FakeStreamWriter writer;
    OutputStream stream(&writer, {.bytes = 1000, .tokens = 2});
    stream.Push(TokenChunk(1, "a"));
    stream.Push(TokenChunk(2, "b"));
    if (gone) {
      stream.ClientGone();
    } else {
      stream.Push(EndChunk(FinishReason::kStop));
    }
    stream.Push(TokenChunk(3, "c"));
    writer.FinishWrite(&stream, /*ok=*/!gone);
    EXPECT_THAT(writer.pauses(), IsEmpty());
    EXPECT_THAT(writer.statuses(), SizeIs(1));
  }
}

TEST_F(OutputStreamTest, AbortCancelsAndGivesTheCallUp) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Abort();
  EXPECT_EQ(writer_.aborts(), 1);
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kAborted));
  writer_.FinishWrite(&stream_, /*ok=*/false);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
}

TEST_F(OutputStreamTest, AbortReachesACallWhoseStatusIsStuckBehindUnreadMessages) {
  stream_.Push(EndChunk(FinishReason::kStop));
  stream_.Abort();
  EXPECT_EQ(writer_.aborts(), 1);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
}

TEST_F(OutputStreamTest, AWholeAnswerComesInOneMessageWhateverItsSize) {
  OutputStream stream(&writer_, {100}, {.whole_answers = true});
  for (int i = 0; i < 200; ++i) stream.Push(TokenChunk(i, "ab"));
  EXPECT_EQ(writer_.messages(), 0);
  stream.Push(EndChunk(FinishReason::kLength));
  EXPECT_EQ(writer_.messages(), 1);
  EXPECT_THAT(writer_.tokens(), SizeIs(200));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
}

TEST_F(OutputStreamTest, WholeAnswersOfOneCallAreNotBoundedBehindAWrite) {
  OutputStream stream(&writer_, {100}, {.answers = 2, .whole_answers = true});
  stream.Push(EndChunk(FinishReason::kStop));
  for (int i = 0; i < 200; ++i) {
    OutputChunk chunk = TokenChunk(i, "ab");
    chunk.index = 1;
    stream.Push(std::move(chunk));
  }
  OutputChunk end = EndChunk(FinishReason::kLength);
  end.index = 1;
  stream.Push(std::move(end));
  writer_.FinishWrite(&stream);
  EXPECT_EQ(writer_.messages(), 2);
  EXPECT_THAT(writer_.tokens(), SizeIs(200));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
}

TEST_F(OutputStreamTest, WhatThereIsOfThePromptWaitsForTheFirstTokenWhereItShall) {
  OutputStream stream(&writer_, {100}, {.prompt_waits = true});
  for (int i = 0; i < 50; ++i) {  // more than the bound
    OutputChunk scores;
    scores.prompt.logprobs = {-1.0f};
    stream.Push(std::move(scores));
  }
  EXPECT_EQ(writer_.messages(), 0);
  stream.Push(TokenChunk(7, "a"));
  EXPECT_EQ(writer_.messages(), 1);
  writer_.FinishWrite(&stream);
  stream.Push(EndChunk(FinishReason::kStop));
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
}

constexpr Duration kTimeout = std::chrono::seconds(10);
constexpr TimePoint kStart = TimePoint(std::chrono::hours(1));

TEST_F(OutputStreamTest, AWriteThatIsSeenInFlightForTheTimeoutEndsTheCall) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(TokenChunk(2, "b"));
  EXPECT_FALSE(stream_.AbortIfStalled(kStart, kTimeout)) << "it may have begun just now";
  EXPECT_FALSE(stream_.AbortIfStalled(kStart + kTimeout - Duration(1), kTimeout));
  EXPECT_EQ(writer_.aborts(), 0);
  EXPECT_TRUE(stream_.AbortIfStalled(kStart + kTimeout, kTimeout));
  EXPECT_EQ(writer_.aborts(), 1);
  EXPECT_THAT(writer_.cancels(), ElementsAre(CancelCause::kAborted));
  writer_.FinishWrite(&stream_, /*ok=*/false);
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kCancelled);
  EXPECT_EQ(writer_.messages(), 1);
}

TEST_F(OutputStreamTest, AStalledCallIsEndedOnce) {
  stream_.Push(TokenChunk(1, "a"));
  EXPECT_FALSE(stream_.AbortIfStalled(kStart, kTimeout));
  EXPECT_TRUE(stream_.AbortIfStalled(kStart + kTimeout, kTimeout));
  EXPECT_FALSE(stream_.AbortIfStalled(kStart + 2 * kTimeout, kTimeout));
  EXPECT_EQ(writer_.aborts(), 1);
}

TEST_F(OutputStreamTest, AReaderThatTakesSomethingNowAndThenIsNotStalled) {
  stream_.Push(TokenChunk(0, "a"));
  TimePoint now = kStart;
  for (int i = 1; i <= 5; ++i) {
    stream_.Push(TokenChunk(i, "b"));  // another write is in flight at the next look
    EXPECT_FALSE(stream_.AbortIfStalled(now, kTimeout));
    writer_.FinishWrite(&stream_);
    now += kTimeout - Duration(1);
  }
  EXPECT_EQ(writer_.aborts(), 0);
}

TEST_F(OutputStreamTest, AStreamThatHasNothingToWriteIsNotStalled) {
  EXPECT_FALSE(stream_.AbortIfStalled(kStart, kTimeout));
  EXPECT_FALSE(stream_.AbortIfStalled(kStart + 2 * kTimeout, kTimeout));
  stream_.Push(TokenChunk(1, "a"));
  writer_.FinishWrite(&stream_);
  EXPECT_FALSE(stream_.AbortIfStalled(kStart + 4 * kTimeout, kTimeout));
  EXPECT_FALSE(stream_.AbortIfStalled(kStart + 6 * kTimeout, kTimeout));
  EXPECT_EQ(writer_.aborts(), 0);
}

TEST_F(OutputStreamTest, AStatusThatIsStuckIsStalledToo) {
  stream_.Push(TokenChunk(1, "a"));
  stream_.Push(EndChunk(FinishReason::kStop));
  EXPECT_FALSE(stream_.AbortIfStalled(kStart, kTimeout));
  writer_.FinishWrite(&stream_);  // the status is on its way from here on
  EXPECT_FALSE(stream_.AbortIfStalled(kStart + kTimeout, kTimeout));
  EXPECT_TRUE(stream_.AbortIfStalled(kStart + 2 * kTimeout, kTimeout));
  EXPECT_EQ(writer_.aborts(), 1);
  EXPECT_THAT(writer_.cancels(), IsEmpty()) << "the engine has ended the request already";
  EXPECT_EQ(OnlyStatus(), absl::StatusCode::kOk);
}

TEST_F(OutputStreamTest, ACallThatIsOverIsNotStalled) {
  stream_.Push(EndChunk(FinishReason::kStop));
  stream_.Detach();
  EXPECT_FALSE(stream_.AbortIfStalled(kStart, kTimeout));
  EXPECT_FALSE(stream_.AbortIfStalled(kStart + kTimeout, kTimeout));
}

TEST_F(OutputStreamTest, LogprobsTravelWithTheirTokens) {
  OutputChunk first = TokenChunk(1, "a");
  first.logprobs = {-1.f};
  OutputChunk second = TokenChunk(2, "b");
  second.logprobs = {-2.f};
  stream_.Push(std::move(first));
  stream_.Push(std::move(second));
  writer_.FinishWrite(&stream_);
  EXPECT_THAT(writer_.logprobs(), ElementsAre(-1.f, -2.f));
}

using OutputStreamDeathTest = OutputStreamTest;

TEST_F(OutputStreamDeathTest, DetachingAnUnfinishedCallDies) {
  EXPECT_DEATH(stream_.Detach(), "without a status");
}

}  // namespace
}  // namespace quire::server
