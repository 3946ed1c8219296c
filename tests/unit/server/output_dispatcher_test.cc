#include "server/output_dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/byte_tokenizer.h"
#include "tests/unit/server/fake_stream_writer.h"

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TokenEvent Token(RequestId id, TokenId token, uint32_t hold_back = 0) {
  TokenEvent event;
  event.request = id;
  event.token = token;
  event.logprob = -0.5f;
  event.hold_back_bytes = hold_back;
  return event;
}

TokenEvent End(RequestId id, FinishReason reason, uint32_t trim = 0) {
  TokenEvent event;
  event.request = id;
  event.finish = std::make_unique<FinishInfo>();
  event.finish->reason = reason;
  event.finish->trim_bytes = trim;
  return event;
}

template <typename... Events>
std::vector<TokenEvent> Step(Events... events) {
  std::vector<TokenEvent> step;
  (step.push_back(std::move(events)), ...);
  return step;
}

// The dispatcher's threads are joined by Finish, so everything delivered has been handled.
class OutputDispatcherTest : public ::testing::TestWithParam<int> {
 protected:
  struct Client {
    FakeStreamWriter writer;
    std::shared_ptr<OutputStream> stream =
        std::make_shared<OutputStream>(&writer, StreamLimits{1 << 20});
  };

  void Register(RequestId id, Client& client, OutputFormat format = {}) {
    dispatcher_->Register(id, client.stream, tokenizer_, std::move(format));
  }
  void Finish() { dispatcher_.reset(); }
  // Waits until the thread of `id` has handled what was given to it before.
  void AwaitThreadOf(RequestId id) {
    const RequestId neighbour(id.value() + 300);
    Client other;
    Register(neighbour, other);
    dispatcher_->Deliver(Step(End(neighbour, FinishReason::kStop)));
    other.writer.AwaitStatus();
  }

  ByteTokenizer tokenizer_;
  std::unique_ptr<OutputDispatcher> dispatcher_ = std::make_unique<OutputDispatcher>(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Threads, OutputDispatcherTest, ::testing::Values(1, 3));

TEST_P(OutputDispatcherTest, TokensBecomeTextInOrder) {
  Client client;
  Register(RequestId(1), client);
  for (char c : std::string("hello")) dispatcher_->Deliver(Step(Token(RequestId(1), c)));
  dispatcher_->Deliver(Step(End(RequestId(1), FinishReason::kLength)));
  Finish();
  client.writer.FinishWrite(client.stream.get());
  EXPECT_EQ(client.writer.text(), "hello");
  EXPECT_THAT(client.writer.tokens(), ElementsAre('h', 'e', 'l', 'l', 'o'));
  EXPECT_THAT(client.writer.statuses(), ElementsAre(absl::OkStatus()));
  EXPECT_FALSE(client.writer.broke_the_rules());
}

TEST_P(OutputDispatcherTest, EventsOfOneStepReachEachTheirOwnStream) {
  Client clients[6];
  for (uint64_t i = 0; i < 6; ++i) Register(RequestId(i), clients[i]);
  std::vector<TokenEvent> step;
  for (uint64_t i = 0; i < 6; ++i) step.push_back(Token(RequestId(i), 'a' + int(i)));
  dispatcher_->Deliver(std::move(step));
  Finish();
  for (uint64_t i = 0; i < 6; ++i)
    EXPECT_EQ(clients[i].writer.text(), std::string(1, 'a' + int(i)));
}

TEST_P(OutputDispatcherTest, HeldBackBytesAreNotShownAndAMatchedStopStringNeverIs) {
  Client client;
  Register(RequestId(1), client);
  TokenEvent last = End(RequestId(1), FinishReason::kStop, /*trim=*/3);
  last.token = 'D';
  dispatcher_->Deliver(Step(Token(RequestId(1), 'x'), Token(RequestId(1), 'E', 1),
                            Token(RequestId(1), 'N', 2), std::move(last)));
  Finish();
  client.writer.FinishWrite(client.stream.get());
  EXPECT_EQ(client.writer.text(), "x");
  EXPECT_THAT(client.writer.tokens(), ElementsAre('x', 'E', 'N', 'D'));
}

TEST_P(OutputDispatcherTest, HeldBackBytesComeAtTheEndWhereNoStopStringMatched) {
  Client client;
  Register(RequestId(1), client);
  dispatcher_->Deliver(Step(Token(RequestId(1), 'E', 1), End(RequestId(1), FinishReason::kLength)));
  Finish();
  client.writer.FinishWrite(client.stream.get());
  EXPECT_EQ(client.writer.text(), "E");
}

TEST_P(OutputDispatcherTest, ACodePointIsShownWhenItIsWhole) {
  Client client;
  Register(RequestId(1), client);
  dispatcher_->Deliver(Step(Token(RequestId(1), 0xC3)));
  dispatcher_->Deliver(Step(Token(RequestId(1), 0xA4)));
  Finish();
  EXPECT_EQ(client.writer.text(), "") << "the first message had the id alone";
  client.writer.FinishWrite(client.stream.get());
  EXPECT_EQ(client.writer.text(), "ä");
}

TEST_P(OutputDispatcherTest, SpecialTokensAreReportedAndShowNoText) {
  Client client;
  Register(RequestId(1), client);
  TokenEvent last = End(RequestId(1), FinishReason::kStop);
  last.token = ByteTokenizer::kEnd;
  dispatcher_->Deliver(Step(std::move(last)));
  Finish();
  EXPECT_EQ(client.writer.text(), "");
  EXPECT_THAT(client.writer.tokens(), ElementsAre(ByteTokenizer::kEnd));
}

TEST_P(OutputDispatcherTest, LogprobsComeOnlyWhereAskedFor) {
  Client with, without;
  Register(RequestId(1), with, {.index = 0, .logprobs = true, .echo = {}});
  Register(RequestId(2), without);
  dispatcher_->Deliver(Step(Token(RequestId(1), 'a'), Token(RequestId(2), 'a')));
  Finish();
  EXPECT_THAT(with.writer.logprobs(), ElementsAre(-0.5f));
  EXPECT_THAT(without.writer.logprobs(), IsEmpty());
}

TEST_P(OutputDispatcherTest, AlternativesTravelWithTheirTokens) {
  Client client;
  Register(RequestId(1), client, {.index = 0, .logprobs = true, .echo = {}});
  TokenEvent event = Token(RequestId(1), 'a');
  event.alternatives = {{'b', -0.25f}, {'a', -0.5f}};
  dispatcher_->Deliver(Step(std::move(event)));
  Finish();
  EXPECT_THAT(client.writer.alternatives(), ElementsAre(Alternatives{{'b', -0.25f}, {'a', -0.5f}}));
}

TEST_P(OutputDispatcherTest, TheEchoGoesOutOnceWithTheFirstPieceAndScoresFollow) {
  Client client;
  OutputFormat format;
  format.echo.text = "ab";
  format.echo.tokens = {'a', 'b'};
  Register(RequestId(1), client, std::move(format));
  for (int32_t first : {1, 2}) {
    TokenEvent scores;
    scores.request = RequestId(1);
    scores.prompt_scores = std::make_unique<PromptScores>();
    scores.prompt_scores->first = first;
    scores.prompt_scores->logprobs = {-1.0f * static_cast<float>(first)};
    dispatcher_->Deliver(Step(std::move(scores)));
  }
  dispatcher_->Deliver(Step(Token(RequestId(1), 'c'), End(RequestId(1), FinishReason::kStop)));
  Finish();
  client.writer.FinishWrite(client.stream.get());
  EXPECT_THAT(client.writer.prompt_logprobs(), ElementsAre(-1, -2));
  EXPECT_EQ(client.writer.summaries()[0], "0:ab|");
  EXPECT_EQ(client.writer.text(), "c");
}

TEST_P(OutputDispatcherTest, AnswersOfOneCallKeepTheirIndex) {
  FakeStreamWriter writer;
  const auto stream = std::make_shared<OutputStream>(
      &writer, StreamLimits{1 << 20}, OutputShape{.answers = 3, .message_interval = 100});
  for (uint64_t i = 0; i < 3; ++i) {
    OutputFormat format;
    format.index = static_cast<int32_t>(i);
    dispatcher_->Register(RequestId(10 + i), stream, tokenizer_, std::move(format));
  }
  for (char c : {'a', 'b'}) {
    dispatcher_->Deliver(Step(Token(RequestId(10), c),
                              Token(RequestId(11), static_cast<char>(c + 10)),
                              Token(RequestId(12), static_cast<char>(c + 20))));
  }
  for (uint64_t i = 0; i < 3; ++i) {
    dispatcher_->Deliver(Step(End(RequestId(10 + i), FinishReason::kStop)));
  }
  Finish();
  while (writer.FinishWrite(stream.get())) {
  }
  EXPECT_THAT(writer.summaries(), ::testing::UnorderedElementsAre("0:ab.", "1:kl.", "2:uv."));
  EXPECT_THAT(writer.statuses(), ElementsAre(absl::OkStatus()));
  EXPECT_FALSE(writer.broke_the_rules());
}

TEST_P(OutputDispatcherTest, EventsOfUnknownAndEndedRequestsAreDropped) {
  Client client;
  Register(RequestId(1), client);
  dispatcher_->Deliver(Step(Token(RequestId(9), 'x'), End(RequestId(1), FinishReason::kStop)));
  dispatcher_->Deliver(Step(Token(RequestId(1), 'x'), End(RequestId(1), FinishReason::kError)));
  Finish();
  EXPECT_THAT(client.writer.statuses(), SizeIs(1));
  EXPECT_EQ(client.writer.text(), "");
}

TEST_P(OutputDispatcherTest, AStreamIsLetGoWithItsLastEvent) {
  Client client;
  Register(RequestId(3), client);
  dispatcher_->Deliver(Step(End(RequestId(3), FinishReason::kStop)));
  AwaitThreadOf(RequestId(3));
  EXPECT_EQ(client.stream.use_count(), 1);
}

TEST_P(OutputDispatcherTest, AnUnregisteredStreamIsLetGo) {
  Client client;
  Register(RequestId(3), client);
  dispatcher_->Unregister(RequestId(3));
  AwaitThreadOf(RequestId(3));
  AwaitThreadOf(RequestId(3));  // departures come last in what the thread takes at a time
  EXPECT_EQ(client.stream.use_count(), 1);
  EXPECT_THAT(client.writer.statuses(), IsEmpty());
}

}  // namespace
}  // namespace quire::server
