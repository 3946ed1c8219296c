#include "core/engine/engine_inbox.h"

#include <functional>
#include <thread>

#include "core/base/refusal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One request; `count` with successive ids.
std::vector<Request> MakeRequest(uint64_t id, size_t prompt_tokens, size_t count = 1) {
  std::vector<Request> requests(count);
  for (Request& request : requests) {
    request.id = RequestId(id++);
    request.prompt.assign(prompt_tokens, 1);
  }
  return requests;
}

EngineInbox MakeInbox(int32_t max_requests, int64_t max_tokens) {
  EngineOptions options;
  options.max_queued_requests = max_requests;
  options.max_queued_tokens = max_tokens;
  return EngineInbox(options);
}

TEST(EngineInboxTest, TakeGivesEverythingInOrderAndEmptiesIt) {
  EngineInbox inbox = MakeInbox(10, 100);
  ASSERT_TRUE(inbox.Submit(MakeRequest(1, 3)).ok());
  ASSERT_TRUE(inbox.Submit(MakeRequest(2, 4)).ok());
  inbox.Cancel(RequestId(2));
  inbox.Cancel(RequestId(1));
  inbox.AbortAll();
  const EngineInbox::Messages messages = inbox.Take(TimePoint());
  ASSERT_EQ(messages.submits.size(), 2u);
  EXPECT_EQ(messages.submits[0].id, RequestId(1));
  EXPECT_EQ(messages.submits[1].id, RequestId(2));
  EXPECT_EQ(messages.submits[1].prompt.size(), 4u);
  EXPECT_THAT(messages.cancels, ElementsAre(RequestId(2), RequestId(1)));
  EXPECT_TRUE(messages.abort_all);
  EXPECT_TRUE(inbox.Take(TimePoint()).empty());
}

TEST(EngineInboxTest, IsBoundedByRequestsEvenAfterTheyWereTaken) {
  EngineInbox inbox = MakeInbox(2, 100);
  ASSERT_TRUE(inbox.Submit(MakeRequest(1, 1)).ok());
  ASSERT_TRUE(inbox.Submit(MakeRequest(2, 1)).ok());
  (void)inbox.Take(TimePoint());
  const absl::Status full = inbox.Submit(MakeRequest(3, 1));
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("2 requests with 2 prompt tokens"));
  EXPECT_TRUE(inbox.Take(TimePoint()).submits.empty()) << "nothing of a refused request is kept";
  inbox.OnLeftQueue(MakeRequest(9, 1)[0], /*started=*/true);
  EXPECT_TRUE(inbox.Submit(MakeRequest(3, 1)).ok());
  EXPECT_EQ(inbox.rejections().queue_full, 1u);
}

TEST(EngineInboxTest, APreemptedRequestTakesAPlaceAgainWhetherThereIsOneOrNot) {
  EngineInbox inbox = MakeInbox(2, 10);
  ASSERT_TRUE(inbox.Submit(MakeRequest(1, 6)).ok());
  const Request first = std::move(inbox.Take(TimePoint()).submits[0]);
  inbox.OnLeftQueue(first, /*started=*/true);
  ASSERT_TRUE(inbox.Submit(MakeRequest(2, 1, 2)).ok());
  EXPECT_EQ(inbox.NumTaken(), 0);
  (void)inbox.Take(TimePoint());
  inbox.OnPreempted(first);
  EXPECT_EQ(inbox.NumTaken(), 3);
  EXPECT_THAT(std::string(inbox.Submit(MakeRequest(4, 1)).message()),
              HasSubstr("3 requests with 8 prompt tokens"));
  for (const Request& waiting : MakeRequest(2, 1, 2)) inbox.OnLeftQueue(waiting, /*started=*/true);
  EXPECT_FALSE(inbox.Submit(MakeRequest(4, 5)).ok()) << "its prompt counts too";
  EXPECT_TRUE(inbox.Submit(MakeRequest(4, 4)).ok());
  inbox.OnLeftQueue(first, /*started=*/true);
  EXPECT_TRUE(inbox.Submit(MakeRequest(5, 6)).ok());
}

TEST(EngineInboxTest, TheLastWordOnAPauseCounts) {
  EngineInbox inbox = MakeInbox(10, 10);
  for (const bool paused : {true, false, true}) inbox.SetPaused(RequestId(1), paused);
  inbox.SetPaused(RequestId(2), false);
  EXPECT_THAT(inbox.Take(TimePoint()).pauses,
              ::testing::UnorderedElementsAre(std::pair(RequestId(1), true),
                                              std::pair(RequestId(2), false)));
  EXPECT_TRUE(inbox.Take(TimePoint()).empty());
}

TEST(EngineInboxTest, WhatIsSetAsideTakesAPlaceButDoesNotMakeADeadlineUnreachable) {
  EngineInbox inbox = MakeInbox(2, 100);
  const auto submit = [&inbox](uint64_t id, TimePoint now) {
    std::vector<Request> requests = MakeRequest(id, 10);
    requests[0].arrival = now;
    requests[0].deadline = now + std::chrono::seconds(2);
    return inbox.Submit(std::move(requests));
  };
  // One starts a second, and then nothing for an hour.
  TimePoint now{};
  for (uint64_t id = 1; id <= 5; ++id) {
    ASSERT_TRUE(submit(id, now).ok());
    const Request request = std::move(inbox.Take(now).submits[0]);
    (void)inbox.Take(now += std::chrono::seconds(1));
    inbox.OnLeftQueue(request, /*started=*/true);
    if (id < 5) continue;
    inbox.OnPreempted(request);
    inbox.OnSetAside(request, true);
  }
  (void)inbox.Take(now += std::chrono::hours(1));
  ASSERT_TRUE(submit(6, now).ok());
  EXPECT_EQ(submit(7, now).code(), absl::StatusCode::kResourceExhausted) << "both places are taken";
  const Request last = std::move(inbox.Take(now).submits[0]);
  inbox.OnLeftQueue(last, /*started=*/true);
  ASSERT_TRUE(submit(8, now).ok());
}

TEST(EngineInboxTest, IsBoundedByPromptTokens) {
  EngineInbox inbox = MakeInbox(10, 10);
  ASSERT_TRUE(inbox.Submit(MakeRequest(1, 6)).ok());
  EXPECT_EQ(inbox.Submit(MakeRequest(2, 5)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(inbox.Submit(MakeRequest(3, 4)).ok()) << "exactly the bound";
  EXPECT_EQ(inbox.Submit(MakeRequest(4, 1)).code(), absl::StatusCode::kResourceExhausted);
  inbox.OnLeftQueue(MakeRequest(9, 6)[0], /*started=*/true);
  EXPECT_TRUE(inbox.Submit(MakeRequest(5, 6)).ok());
  EXPECT_EQ(inbox.rejections().queue_full, 2u);
}

TEST(EngineInboxTest, APromptBeyondTheTokenBoundGetsIntoAnEmptyQueue) {
  EngineInbox inbox = MakeInbox(10, 10);
  EXPECT_TRUE(inbox.Submit(MakeRequest(1, 50)).ok()) << "or it could never run";
  EXPECT_EQ(inbox.Submit(MakeRequest(2, 1)).code(), absl::StatusCode::kResourceExhausted);
}

TEST(EngineInboxTest, SeveralRequestsGetInTogetherOrNotAtAll) {
  EngineInbox inbox = MakeInbox(4, 10);
  std::atomic<int64_t> live = 0;
  EXPECT_TRUE(inbox.Submit(MakeRequest(1, 3, 2), &live).ok());
  EXPECT_EQ(inbox.Submit(MakeRequest(3, 1, 3), &live).code(), absl::StatusCode::kResourceExhausted)
      << "one request too many";
  EXPECT_EQ(inbox.Submit(MakeRequest(6, 3, 2), &live).code(), absl::StatusCode::kResourceExhausted)
      << "two prompt tokens too many";
  EXPECT_EQ(live, 2);
  EXPECT_EQ(inbox.rejections().queue_full, 5u);
  EXPECT_TRUE(inbox.Submit(MakeRequest(8, 2, 2), &live).ok());
  EXPECT_EQ(live, 4);
  const EngineInbox::Messages messages = inbox.Take(TimePoint());
  ASSERT_EQ(messages.submits.size(), 4u);
  EXPECT_EQ(messages.submits[3].id, RequestId(9));
}

TEST(EngineInboxTest, OnceClosedItTakesNoSubmitsAndTellsTheFirstReason) {
  EngineInbox inbox = MakeInbox(10, 100);
  ASSERT_TRUE(inbox.Submit(MakeRequest(1, 1)).ok());
  inbox.Close("draining", "DRAINING");
  inbox.Close("something else", "OTHER");
  const absl::Status refused = inbox.Submit(MakeRequest(2, 1));
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(refused.message(), "draining");
  EXPECT_EQ(RefusalOf(refused)->reason, "DRAINING");
  EXPECT_EQ(inbox.Take(TimePoint()).submits.size(), 1u) << "what was accepted stays accepted";
  EXPECT_EQ(inbox.rejections().draining, 1u);
}

TEST(EngineInboxTest, CancelsAndAbortsGetInFullAndClosed) {
  EngineInbox inbox = MakeInbox(1, 100);
  ASSERT_TRUE(inbox.Submit(MakeRequest(1, 1)).ok());
  inbox.Cancel(RequestId(1));
  inbox.Close("draining", "DRAINING");
  inbox.Cancel(RequestId(1));
  inbox.AbortAll();
  const EngineInbox::Messages messages = inbox.Take(TimePoint());
  EXPECT_THAT(messages.cancels, ElementsAre(RequestId(1)));
  EXPECT_TRUE(messages.abort_all);
}

TEST(EngineInboxTest, CancelsOfOneRequestTakeOnePlaceUntilTheyAreTaken) {
  EngineInbox inbox = MakeInbox(1, 100);
  for (int i = 0; i < 1000; ++i) inbox.Cancel(RequestId(1 + i % 2));
  EXPECT_THAT(inbox.Take(TimePoint()).cancels, ElementsAre(RequestId(1), RequestId(2)));
  inbox.Cancel(RequestId(2));
  EXPECT_THAT(inbox.Take(TimePoint()).cancels, ElementsAre(RequestId(2)));
}

TEST(EngineInboxTest, CountsEachKindOfRefusal) {
  EngineInbox inbox = MakeInbox(1, 100);
  inbox.CountTooLong(TenantId(), 2);
  EXPECT_EQ(inbox.rejections().too_long, 2u);
  EXPECT_EQ(inbox.rejections().queue_full, 0u);
  EXPECT_EQ(inbox.rejections().draining, 0u);
}

TEST(EngineInboxTest, EveryKindOfMessageEndsTheWait) {
  const std::function<void(EngineInbox*)> messages[] = {
      [](EngineInbox* inbox) { ASSERT_TRUE(inbox->Submit(MakeRequest(1, 1)).ok()); },
      [](EngineInbox* inbox) { inbox->Cancel(RequestId(1)); },
      [](EngineInbox* inbox) { inbox->AbortAll(); },
      [](EngineInbox* inbox) { inbox->Wake(); },
  };
  for (const auto& send : messages) {
    EngineInbox before = MakeInbox(10, 100);
    send(&before);
    before.Wait(Duration::max());
    EngineInbox during = MakeInbox(10, 100);
    std::thread waiter([&during] { during.Wait(Duration::max()); });
    send(&during);
    waiter.join();
  }
}

TEST(EngineInboxTest, AWakeIsUsedUpByOneWait) {
  EngineInbox inbox = MakeInbox(10, 100);
  inbox.Wake();
  inbox.Wait(Duration::max());
  std::thread canceller([&inbox] { inbox.Cancel(RequestId(1)); });
  inbox.Wait(Duration::max());
  EXPECT_EQ(inbox.Take(TimePoint()).cancels.size(), 1u) << "the second wait ended for the message";
  canceller.join();
}

TEST(EngineInboxTest, ACancelThatComesTooEarlyDoesNotMuteALaterOne) {
  EngineInbox inbox = MakeInbox(10, 100);
  inbox.Cancel(RequestId(1));
  inbox.Cancel(RequestId(1));
  EXPECT_THAT(inbox.Take(TimePoint()).cancels, ElementsAre(RequestId(1)));
  ASSERT_TRUE(inbox.Submit(MakeRequest(1, 3)).ok());
  inbox.Cancel(RequestId(1));
  EXPECT_THAT(inbox.Take(TimePoint()).cancels, ElementsAre(RequestId(1)));
}

}  // namespace
}  // namespace quire
