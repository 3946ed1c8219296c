#include "server/rpc/response_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire::server {
namespace {

using ::testing::ElementsAre;

TEST(ResponseCodecTest, AMiddlePieceHasNoFinish) {
  OutputChunk chunk;
  chunk.text = "hi";
  chunk.tokens = {3, 4};
  chunk.logprobs = {-1.f, -2.f};
  chunk.token_offset = 7;
  v1::GenerateResponse message;
  message.set_request_id("of the message before");
  EncodeChunk(chunk, std::chrono::seconds(1), &message);
  EXPECT_EQ(message.text(), "hi");
  EXPECT_THAT(message.token_ids(), ElementsAre(3u, 4u));
  EXPECT_THAT(message.logprobs(), ElementsAre(-1.f, -2.f));
  EXPECT_EQ(message.token_offset(), 7u);
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_FALSE(message.has_usage());
  EXPECT_FALSE(message.has_timings());
  EXPECT_EQ(message.request_id(), "");
}

TEST(ResponseCodecTest, TheLastPieceHasReasonUsageAndTimings) {
  OutputChunk chunk;
  chunk.finish = std::make_unique<FinishInfo>();
  chunk.finish->reason = FinishReason::kLength;
  chunk.totals = std::make_unique<AnswerTotals>();
  chunk.totals->prompt_tokens = 10;
  chunk.totals->cached_tokens = 4;
  chunk.totals->generated_tokens = 20;
  chunk.totals->queue_time = std::chrono::milliseconds(250);
  chunk.totals->time_to_first_token = std::chrono::milliseconds(500);
  v1::GenerateResponse message;
  EncodeChunk(chunk, std::chrono::milliseconds(1500), &message);
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(message.usage().prompt_tokens(), 10u);
  EXPECT_EQ(message.usage().cached_tokens(), 4u);
  EXPECT_EQ(message.usage().generated_tokens(), 20u);
  EXPECT_EQ(message.timings().queue_seconds(), 0.25);
  EXPECT_EQ(message.timings().time_to_first_token_seconds(), 0.5);
  EXPECT_EQ(message.timings().total_seconds(), 1.5);
}

TEST(ResponseCodecTest, AnAnswersEndBeforeTheCallsHasItsReasonAlone) {
  OutputChunk chunk;
  chunk.index = 2;
  chunk.finish = std::make_unique<FinishInfo>();
  v1::GenerateResponse message;
  EncodeChunk(chunk, {}, &message);
  EXPECT_EQ(message.index(), 2u);
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_FALSE(message.has_usage());
  EXPECT_FALSE(message.has_timings());
}

TEST(ResponseCodecTest, AlternativesAndThePromptHaveTheirPlaces) {
  OutputChunk chunk;
  chunk.tokens = {1, 2};
  chunk.alternatives = {{{7, -1}, {8, -2}}, {{9, -3}}};
  chunk.prompt.text = "ab";
  chunk.prompt.tokens = {3, 4};
  chunk.prompt.logprobs = {-5};
  chunk.prompt.alternatives = {{{6, -0.5f}}};
  v1::GenerateResponse message;
  EncodeChunk(chunk, {}, &message);
  ASSERT_EQ(message.top_logprobs_size(), 2);
  EXPECT_THAT(message.top_logprobs(0).token_ids(), ElementsAre(7u, 8u));
  EXPECT_THAT(message.top_logprobs(0).logprobs(), ElementsAre(-1.f, -2.f));
  EXPECT_THAT(message.top_logprobs(1).token_ids(), ElementsAre(9u));
  EXPECT_EQ(message.prompt_text(), "ab");
  EXPECT_THAT(message.prompt_token_ids(), ElementsAre(3u, 4u));
  EXPECT_THAT(message.prompt_logprobs(), ElementsAre(-5.f));
  ASSERT_EQ(message.prompt_top_logprobs_size(), 1);
  EXPECT_THAT(message.prompt_top_logprobs(0).token_ids(), ElementsAre(6u));
}

TEST(ResponseCodecTest, EveryReasonHasItsOwnValue) {
  const std::pair<FinishReason, v1::FinishReason> cases[] = {
      {FinishReason::kStop, v1::FINISH_REASON_STOP},
      {FinishReason::kLength, v1::FINISH_REASON_LENGTH},
      {FinishReason::kCancelled, v1::FINISH_REASON_CANCELLED},
      {FinishReason::kDeadline, v1::FINISH_REASON_DEADLINE},
      {FinishReason::kError, v1::FINISH_REASON_ERROR},
      {FinishReason::kShutdown, v1::FINISH_REASON_SHUTDOWN}};
  for (const auto& [reason, expected] : cases) {
    OutputChunk chunk;
    chunk.finish = std::make_unique<FinishInfo>();
    chunk.finish->reason = reason;
    v1::GenerateResponse message;
    EncodeChunk(chunk, {}, &message);
    EXPECT_EQ(message.finish_reason(), expected);
  }
}

}  // namespace
}  // namespace quire::server
