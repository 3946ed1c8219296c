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
  OutputStream stream_{&writer_, 100};
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
    OutputStream stream(&writer, 100);
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
