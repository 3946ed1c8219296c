#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"

// What is accepted, what is refused and what the refusal says.

namespace quire::testing {
namespace {

using ::testing::HasSubstr;

absl::Status Submit(EngineHarness* h, size_t prompt_tokens, int32_t max_tokens) {
  return h->engine.Submit(h->MakeRequest(std::vector<TokenId>(prompt_tokens, 1), max_tokens));
}

TEST(EngineSubmitTest, IdsAreUniqueAndFromOne) {
  EngineHarness h(EngineHarness::DefaultOptions());
  EXPECT_EQ(h.engine.NextRequestId(), RequestId(1));
  EXPECT_EQ(h.engine.NextRequestId(), RequestId(2));
}

TEST(EngineSubmitTest, PromptAndOutputMustFitTheContext) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.engine.max_context_tokens = 100;
  EngineHarness h(options);
  EXPECT_TRUE(Submit(&h, 60, 40).ok());
  for (const absl::Status& status :
       {Submit(&h, 60, 41), Submit(&h, 100, 1), Submit(&h, 1, INT32_MAX)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("exceed the limit of 100 tokens"));
  }
  EXPECT_EQ(h.engine.Stats().rejected_too_long, 3u);
  EXPECT_EQ(h.engine.live_requests(), 1);
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.terminals(), 1u);
}

TEST(EngineSubmitTest, ARequestMustFitTheWholeKvCache) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.kv_slabs = 3;  // 48 positions; the last token needs none
  EngineHarness h(options);
  const absl::Status status = Submit(&h, 40, 10);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("prompt (40 tokens) and max_tokens (10) together exceed the limit of 49"));
  ASSERT_TRUE(Submit(&h, 40, 9).ok()) << "the longest that fits";
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.engine.Stats().finished[static_cast<size_t>(FinishReason::kLength)], 1u);
}

TEST(EngineSubmitTest, SeveralRequestsAreAcceptedTogetherOrNotAtAll) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.engine.max_queued_requests = 4;
  options.engine.max_context_tokens = 100;
  EngineHarness h(options);
  const auto submit = [&h](std::vector<int32_t> max_tokens) {
    std::vector<Request> requests;
    for (int32_t n : max_tokens) requests.push_back(h.MakeRequest({1, 2}, n));
    return h.engine.Submit(std::move(requests));
  };
  EXPECT_TRUE(submit({3, 4, 5}).ok());
  EXPECT_EQ(submit({1, 1}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(submit({1, 99}).code(), absl::StatusCode::kInvalidArgument) << "one is too long";
  EXPECT_EQ(submit({1, 1, 1, 1, 1}).code(), absl::StatusCode::kInvalidArgument)
      << "more than the queue can ever hold";
  EXPECT_EQ(h.engine.live_requests(), 3);
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.terminals(), 3u);
  EXPECT_EQ(h.engine.Stats().accepted, 3u);
  EXPECT_EQ(h.engine.Stats().generated_tokens, 12u);
}

TEST(EngineSubmitTest, AFullQueueRefusesAndKeepsNothing) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.engine.max_running_requests = 1;
  options.engine.max_queued_requests = 2;
  EngineHarness h(options);
  ASSERT_TRUE(Submit(&h, 1, 3).ok());
  h.engine.Step();
  ASSERT_TRUE(Submit(&h, 1, 3).ok());
  ASSERT_TRUE(Submit(&h, 1, 3).ok());
  EXPECT_EQ(Submit(&h, 1, 3).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(h.engine.live_requests(), 3);
  EXPECT_EQ(h.engine.Stats().rejected_queue_full, 1u);
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.terminals(), 3u);
  EXPECT_TRUE(Submit(&h, 1, 3).ok()) << "an empty queue takes requests again";
}

TEST(EngineSubmitTest, TheQueueHasRoomAgainWhenARequestStarts) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.engine.max_queued_requests = 1;
  options.engine.max_queued_tokens = 10;
  EngineHarness h(options);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Submit(&h, 10, 50).ok()) << "request " << i;
    h.engine.Step();
  }
  EXPECT_EQ(h.engine.Stats().running, 10);
}

TEST(EngineSubmitTest, DrainingRefusesNewRequestsAndServesTheOld) {
  EngineHarness h(EngineHarness::DefaultOptions());
  Request old = h.MakeRequest({1, 2}, 5);
  const RequestId id = old.id;
  ASSERT_TRUE(h.engine.Submit(std::move(old)).ok());
  h.engine.StopAccepting();
  const absl::Status status = Submit(&h, 1, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("draining"));
  ASSERT_TRUE(h.RunUntilIdle());
  EXPECT_EQ(h.sink.of(id).tokens, h.Expected({1, 2}, 5));
  EXPECT_EQ(h.engine.Stats().rejected_draining, 1u);
}

TEST(EngineSubmitDeathTest, AnIdMustNotBeUsedTwice) {
  EngineHarness h(EngineHarness::DefaultOptions());
  Request request = h.MakeRequest({1}, 5);
  ASSERT_TRUE(h.engine.Submit(request).ok());
  h.engine.Step();
  EXPECT_DEATH(
      {
        (void)h.engine.Submit(request);
        h.engine.Step();
      },
      "request 1 was submitted twice");
}

TEST(EngineSubmitDeathTest, OptionsMustBeValid) {
  EngineHarness::Options options = EngineHarness::DefaultOptions();
  options.engine.max_context_tokens = 0;
  EXPECT_DEATH(EngineHarness{options}, "max_context_tokens must be at least 2");
}

}  // namespace
}  // namespace quire::testing
