#include "core/sched/tenant_queue.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

constexpr Duration kAgeing = std::chrono::seconds(10);

TimePoint At(int seconds) { return TimePoint(std::chrono::seconds(seconds)); }

std::unique_ptr<Sequence> MakeSequence(uint64_t id, size_t prompt_tokens, int arrival = 0) {
  Request request;
  request.id = RequestId(id);
  request.prompt.assign(prompt_tokens, 1);
  request.sampling.max_tokens = 1;
  request.arrival = At(arrival);
  return std::make_unique<Sequence>(SequenceId(id), std::move(request));
}

std::unique_ptr<Sequence> Pop(TenantQueue* queue) { return queue->Remove(queue->Front()->id()); }

class TenantQueueTest : public ::testing::Test {
 protected:
  TenantQueueTest() {
    for (uint64_t id : {1, 2, 3}) queue_.Push(MakeSequence(id, id * 10), 0);
  }

  TenantQueue queue_{kAgeing};
};

TEST_F(TenantQueueTest, FirstComeFirstServed) {
  for (uint64_t id : {1, 2, 3}) {
    EXPECT_EQ(queue_.Front()->id(), SequenceId(id));
    EXPECT_EQ(Pop(&queue_)->id(), SequenceId(id));
  }
  EXPECT_EQ(queue_.Front(), nullptr);
  EXPECT_EQ(queue_.size(), 0);
  EXPECT_EQ(queue_.prompt_tokens(), 0);
}

TEST_F(TenantQueueTest, CountsSequencesAndPromptTokens) {
  EXPECT_EQ(queue_.size(), 3);
  EXPECT_EQ(queue_.prompt_tokens(), 60);
  (void)Pop(&queue_);
  EXPECT_EQ(queue_.prompt_tokens(), 50);
  (void)queue_.Remove(SequenceId(3));
  EXPECT_EQ(queue_.prompt_tokens(), 20);
  EXPECT_EQ(queue_.size(), 1);
}

TEST_F(TenantQueueTest, RemovesFromTheMiddle) {
  EXPECT_EQ(queue_.Remove(SequenceId(2))->id(), SequenceId(2));
  EXPECT_EQ(queue_.Remove(SequenceId(2)), nullptr);
  EXPECT_EQ(Pop(&queue_)->id(), SequenceId(1));
  EXPECT_EQ(Pop(&queue_)->id(), SequenceId(3));
}

TEST_F(TenantQueueTest, WhoComesBackTakesItsOldPlace) {
  queue_.Push(Pop(&queue_), 0);
  EXPECT_EQ(queue_.Front()->id(), SequenceId(1));
  EXPECT_EQ(queue_.prompt_tokens(), 60);
}

TEST_F(TenantQueueTest, PriorityIsWorthTimeOfWaiting) {
  TenantQueue queue(kAgeing);
  queue.Push(MakeSequence(1, 1, /*arrival=*/100), 0);
  queue.Push(MakeSequence(2, 1, /*arrival=*/109), 1);
  queue.Push(MakeSequence(3, 1, /*arrival=*/111), 1);
  queue.Push(MakeSequence(4, 1, /*arrival=*/119), 2);
  for (uint64_t id : {2, 4, 1, 3}) EXPECT_EQ(Pop(&queue)->id(), SequenceId(id));
}

TEST_F(TenantQueueTest, TheParkedKeepTheirPlaceAndAreNotOffered) {
  queue_.Park(SequenceId(1));
  EXPECT_EQ(queue_.Front()->id(), SequenceId(2));
  EXPECT_EQ(queue_.size(), 3);
  EXPECT_EQ(queue_.parked(), 1);
  EXPECT_TRUE(queue_.Unpark(SequenceId(1)));
  EXPECT_FALSE(queue_.Unpark(SequenceId(1)));
  EXPECT_EQ(queue_.Front()->id(), SequenceId(1));
  queue_.Park(SequenceId(2));
  EXPECT_EQ(queue_.Remove(SequenceId(2))->id(), SequenceId(2));
  EXPECT_FALSE(queue_.Unpark(SequenceId(2))) << "it has gone";
  EXPECT_EQ(queue_.parked(), 0);
}

TEST_F(TenantQueueTest, WhatIsSetAsideKeepsItsPlaceParkedOrNotAndIsNotOffered) {
  queue_.Park(SequenceId(1));
  queue_.SetAside(SequenceId(1));
  EXPECT_EQ(queue_.parked(), 0);
  EXPECT_FALSE(queue_.Unpark(SequenceId(1)));
  queue_.SetAside(SequenceId(2));
  EXPECT_EQ(queue_.Front()->id(), SequenceId(3));
  EXPECT_EQ(queue_.size(), 3);
  EXPECT_EQ(queue_.prompt_tokens(), 60);
  EXPECT_EQ(queue_.Remove(SequenceId(2))->id(), SequenceId(2));
  EXPECT_FALSE(queue_.BringBack(SequenceId(2))) << "it has gone";
  EXPECT_FALSE(queue_.BringBack(SequenceId(3))) << "it is here";
  EXPECT_TRUE(queue_.BringBack(SequenceId(1)));
  EXPECT_EQ(queue_.Front()->id(), SequenceId(1));
}

TEST_F(TenantQueueTest, VisitsTheParkedAndWhatIsSetAsideToo) {
  queue_.Park(SequenceId(1));
  queue_.SetAside(SequenceId(2));
  uint64_t sum = 0;
  queue_.ForEach([&sum](const Sequence* sequence) { sum += sequence->id().value(); });
  EXPECT_EQ(sum, 6u);
}

using TenantQueueDeathTest = TenantQueueTest;

TEST_F(TenantQueueDeathTest, MisuseIsABrokenInvariant) {
  EXPECT_DEATH(queue_.Push(MakeSequence(2, 1), 0), "sequence 2 waits already");
  EXPECT_DEATH(queue_.Park(SequenceId(9)), "9");
}

}  // namespace
}  // namespace quire
