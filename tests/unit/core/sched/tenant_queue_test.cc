#include "core/sched/tenant_queue.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

std::unique_ptr<Sequence> MakeSequence(uint64_t id, size_t prompt_tokens) {
  Request request;
  request.prompt.assign(prompt_tokens, 1);
  request.sampling.max_tokens = 1;
  return std::make_unique<Sequence>(SequenceId(id), std::move(request));
}

class TenantQueueTest : public ::testing::Test {
 protected:
  TenantQueueTest() {
    for (uint64_t id : {1, 2, 3}) queue_.Push(MakeSequence(id, id * 10));
  }

  TenantQueue queue_;
};

TEST_F(TenantQueueTest, FirstComeFirstServed) {
  for (uint64_t id : {1, 2, 3}) {
    EXPECT_EQ(queue_.Front()->id(), SequenceId(id));
    EXPECT_EQ(queue_.Pop()->id(), SequenceId(id));
  }
  EXPECT_EQ(queue_.Front(), nullptr);
  EXPECT_EQ(queue_.size(), 0);
  EXPECT_EQ(queue_.prompt_tokens(), 0);
}

TEST_F(TenantQueueTest, CountsSequencesAndPromptTokens) {
  EXPECT_EQ(queue_.size(), 3);
  EXPECT_EQ(queue_.prompt_tokens(), 60);
  (void)queue_.Pop();
  EXPECT_EQ(queue_.prompt_tokens(), 50);
  (void)queue_.Remove(SequenceId(3));
  EXPECT_EQ(queue_.prompt_tokens(), 20);
  EXPECT_EQ(queue_.size(), 1);
  EXPECT_EQ(queue_.sequences().size(), 1u);
}

TEST_F(TenantQueueTest, RemovesFromTheMiddle) {
  EXPECT_EQ(queue_.Remove(SequenceId(2))->id(), SequenceId(2));
  EXPECT_EQ(queue_.Pop()->id(), SequenceId(1));
  EXPECT_EQ(queue_.Pop()->id(), SequenceId(3));
}

TEST_F(TenantQueueTest, WhatDoesNotWaitIsNotFound) {
  EXPECT_EQ(queue_.Find(SequenceId(2))->id(), SequenceId(2));
  EXPECT_EQ(queue_.Find(SequenceId(9)), nullptr);
  EXPECT_EQ(queue_.Remove(SequenceId(9)), nullptr);
  (void)queue_.Remove(SequenceId(2));
  EXPECT_EQ(queue_.Find(SequenceId(2)), nullptr);
  EXPECT_EQ(queue_.Remove(SequenceId(2)), nullptr);
  EXPECT_EQ(queue_.size(), 2);
}

TEST_F(TenantQueueTest, ASequenceMayComeBackOnceItHasLeft) {
  queue_.Push(queue_.Pop());
  EXPECT_EQ(queue_.Front()->id(), SequenceId(2));
  EXPECT_EQ(queue_.prompt_tokens(), 60);
}

using TenantQueueDeathTest = TenantQueueTest;

TEST_F(TenantQueueDeathTest, MisuseIsABrokenInvariant) {
  EXPECT_DEATH(queue_.Push(MakeSequence(2, 1)), "sequence 2 waits already");
  EXPECT_DEATH((void)TenantQueue().Pop(), "empty");
}

}  // namespace
}  // namespace quire
