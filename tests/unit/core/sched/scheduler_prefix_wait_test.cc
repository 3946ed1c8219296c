#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/sched/scheduler_fixture.h"

// Sequences that wait for another one to compute what they begin with.

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr SchedulerOptions kSmallSteps{.max_step_tokens = 16, .max_running_sequences = 8};

class SchedulerPrefixWaitTest : public ::testing::Test {
 protected:
  explicit SchedulerPrefixWaitTest(const SchedulerOptions& options = kSmallSteps,
                                   int32_t blocks = 64)
      : f_(options, blocks) {
    EXPECT_TRUE(f_.kv().EnablePrefixCache());
    TenantTable tenants = MakeTenants(4);
    tenants[2].sharing_group = tenants[3].sharing_group = "friends";
    f_.scheduler().SetTenants(tenants);
  }

  // A prompt of 64 tokens: `shared` that all have in common, and others of its own.
  Request MakeRequest(size_t shared, uint32_t tenant = 0) {
    Request request;
    request.tenant = TenantId(tenant);
    request.prompt.resize(64);
    std::iota(request.prompt.begin(), request.prompt.end(), own_ += 1000);
    std::iota(request.prompt.begin(), request.prompt.begin() + static_cast<std::ptrdiff_t>(shared),
              0);
    request.sampling.max_tokens = 4;
    return request;
  }
  SequenceId Enqueue(size_t shared, uint32_t tenant = 0) {
    return f_.Enqueue(MakeRequest(shared, tenant));
  }
  void Step() { f_.Commit(f_.Launch(), 1); }
  int32_t Cached(SequenceId id) const { return f_.Find(id)->cached_tokens(); }

  SchedulerFixture f_;
  TokenId own_ = 0;
};

TEST_F(SchedulerPrefixWaitTest, TheSecondWaitsAndThenFindsEverything) {
  const SequenceId a = Enqueue(60), b = Enqueue(60);
  EXPECT_THAT(f_.Admit(), ElementsAre(a));
  for (int blocks : {1, 2}) {
    Step();
    EXPECT_THAT(f_.Admit(), IsEmpty()) << "after " << blocks << " blocks";
  }
  Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
  EXPECT_EQ(Cached(b), 48);
}

TEST_F(SchedulerPrefixWaitTest, SetAsideItWaitsForThePrefixNoMore) {
  const SequenceId a = Enqueue(60), b = Enqueue(60);
  EXPECT_THAT(f_.Admit(), ElementsAre(a));
  EXPECT_TRUE(f_.scheduler().SetAside(b, StepId(0)));
  EXPECT_THAT(f_.scheduler().CheckInvariants(), IsEmpty());
  for (int i = 0; i < 4; ++i) Step();
  EXPECT_THAT(f_.Admit(), IsEmpty()) << "what it waited for is there";
  EXPECT_TRUE(f_.scheduler().BringBack(b));
  EXPECT_FALSE(f_.scheduler().BringBack(b));
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
  EXPECT_EQ(Cached(b), 48);
}

TEST_F(SchedulerPrefixWaitTest, ThoseBehindItStart) {
  const SequenceId a = Enqueue(60), b = Enqueue(60), c = Enqueue(0);
  EXPECT_THAT(f_.Admit(), ElementsAre(a, c));
  EXPECT_FALSE(f_.Runs(b));
  EXPECT_EQ(f_.scheduler().num_waiting(), 1);
}

TEST_F(SchedulerPrefixWaitTest, TheWaitIsForWhatTheyHaveInCommon) {
  const SequenceId a = Enqueue(64), b = Enqueue(20), c = Enqueue(40), d = Enqueue(10);
  EXPECT_THAT(f_.Admit(), ElementsAre(a, d)) << "less than a block is not worth it";
  f_.Release(d);
  Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
  EXPECT_EQ(Cached(b), 16);
  while (f_.Find(a)->launched() < 32) Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(c));
  EXPECT_EQ(Cached(c), 32);
}

TEST_F(SchedulerPrefixWaitTest, WhatIsFoundAlreadyIsNotWaitedFor) {
  const SequenceId a = Enqueue(64);
  f_.Admit();
  for (int i = 0; i < 3; ++i) Step();
  const SequenceId b = Enqueue(50);  // the first still has a chunk to go
  ASSERT_TRUE(f_.Find(a)->InPrefill());
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
  EXPECT_EQ(Cached(b), 48);
}

TEST_F(SchedulerPrefixWaitTest, WhenTheOtherEndsItLooksAgain) {
  const SequenceId a = Enqueue(60), b = Enqueue(60), c = Enqueue(60);
  f_.Admit();
  Step();
  f_.Release(a);
  EXPECT_THAT(f_.Admit(), ElementsAre(b)) << "and the third waits for the second";
  EXPECT_EQ(Cached(b), 16);
  while (!f_.Runs(c)) {
    Step();
    f_.Admit();
  }
  EXPECT_EQ(Cached(c), 48);
}

TEST_F(SchedulerPrefixWaitTest, OneThatWaitsMayEnd) {
  const SequenceId a = Enqueue(60), b = Enqueue(60);
  f_.Admit();
  f_.Release(b);
  EXPECT_EQ(f_.scheduler().num_waiting(), 0);
  Step();
  f_.Release(a);
  EXPECT_THAT(f_.Admit(), IsEmpty());
}

TEST_F(SchedulerPrefixWaitTest, AnotherSaltIsNotWaitedFor) {
  const SequenceId a = Enqueue(60);
  Request request = MakeRequest(60);
  request.cache_salt = "salt";
  const SequenceId b = f_.Enqueue(std::move(request));
  EXPECT_THAT(f_.Admit(), ElementsAre(a, b));
}

TEST_F(SchedulerPrefixWaitTest, TenantsWaitForEachOtherOnlyWithinAGroup) {
  const SequenceId a = Enqueue(60, 0), b = Enqueue(60, 1);
  EXPECT_THAT(f_.Admit(), ElementsAre(b, a));
  f_.Release(a);
  f_.Release(b);
  const SequenceId c = Enqueue(60, 2), d = Enqueue(60, 3);
  EXPECT_THAT(f_.Admit(), ElementsAre(d));
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(c));
  EXPECT_EQ(Cached(c), 48);
}

TEST_F(SchedulerPrefixWaitTest, TheBlockOfItsLastTokenIsNotWaitedFor) {
  Enqueue(64);
  const SequenceId second = Enqueue(64);
  f_.Admit();
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(second)) << "it computes that one itself";
  EXPECT_EQ(Cached(second), 48);
}

TEST_F(SchedulerPrefixWaitTest, WhatWillNotBeFoundIsNotWaitedFor) {
  Enqueue(60);
  f_.Admit();
  f_.kv().FlushPrefixes(std::nullopt);
  const SequenceId b = Enqueue(60);
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
}

TEST_F(SchedulerPrefixWaitTest, WhoJoinsAGroupDoesNotWaitForWhatWasBegunBefore) {
  Enqueue(60, 0);
  f_.Admit();
  TenantTable tenants = f_.scheduler().tenants();
  tenants[0].sharing_group = tenants[1].sharing_group = "new";
  f_.scheduler().SetTenants(tenants);
  const SequenceId b = Enqueue(60, 1);
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
}

TEST_F(SchedulerPrefixWaitTest, TheStepThatComputesItCountsAsWaited) {
  Enqueue(60);
  const SequenceId b = Enqueue(20);  // a block in common, which the first step computes
  f_.Admit();
  Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
  EXPECT_EQ(f_.Find(b)->prefix_wait(), 1);
}

class SchedulerLargeStepTest : public SchedulerPrefixWaitTest {
 protected:
  SchedulerLargeStepTest()
      : SchedulerPrefixWaitTest({.max_step_tokens = 128, .max_running_sequences = 8}) {}
};

TEST_F(SchedulerLargeStepTest, WhatIsASmallPartOfAStepIsNotWaitedFor) {
  const SequenceId a = Enqueue(31), b = Enqueue(31), c = Enqueue(32);
  EXPECT_THAT(f_.Admit(), ElementsAre(a, b, c));
  const SequenceId d = Enqueue(32);
  EXPECT_THAT(f_.Admit(), IsEmpty()) << "a quarter is";
  EXPECT_FALSE(f_.Runs(d));
}

class SchedulerHugeStepTest : public SchedulerPrefixWaitTest {
 protected:
  SchedulerHugeStepTest()
      : SchedulerPrefixWaitTest({.max_step_tokens = 512, .max_running_sequences = 8}) {}
};

TEST_F(SchedulerHugeStepTest, TheAnswersOfOneRequestComputeItsPromptOnce) {
  const SequenceId first = Enqueue(64), second = Enqueue(64), third = Enqueue(64);
  const SequenceId other = Enqueue(62);
  EXPECT_THAT(f_.Admit(), ElementsAre(first, other)) << "62 tokens are not worth the wait";
  Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(second, third));
  EXPECT_EQ(Cached(second), 48);
  EXPECT_EQ(Cached(third), 48);
}

TEST_F(SchedulerPrefixWaitTest, AGroupsNameAndASaltAreNotRunTogether) {
  TenantTable tenants = MakeTenants(4);
  tenants[2].sharing_group = "a";
  tenants[3].sharing_group = "ab";
  f_.scheduler().SetTenants(tenants);
  Request before = MakeRequest(60, 2), after = MakeRequest(60, 3);
  before.cache_salt = "bc";
  after.cache_salt = "c";
  f_.Enqueue(std::move(before));
  f_.Admit();
  for (int i = 0; i < 4; ++i) Step();
  const SequenceId id = f_.Enqueue(std::move(after));
  f_.Admit();
  EXPECT_EQ(Cached(id), 0);
}

TEST_F(SchedulerPrefixWaitTest, AScoredPromptIsComputedWhole) {
  Enqueue(60);
  Request request = MakeRequest(60);
  request.sampling.prompt_logprobs = 0;
  const SequenceId b = f_.Enqueue(std::move(request));
  EXPECT_EQ(f_.Admit().size(), 2u);
  EXPECT_EQ(Cached(b), 0);
}

class SchedulerShortWaitTest : public SchedulerPrefixWaitTest {
 protected:
  SchedulerShortWaitTest()
      : SchedulerPrefixWaitTest(
            {.max_step_tokens = 16, .max_running_sequences = 8, .max_prefix_wait_steps = 3}) {}
};

TEST_F(SchedulerShortWaitTest, TheWaitIsBounded) {
  Enqueue(60);
  const SequenceId b = Enqueue(60);
  f_.Admit();
  for (int round = 1; round < 3; ++round) EXPECT_THAT(f_.Admit(), IsEmpty()) << round;
  EXPECT_THAT(f_.Admit(), ElementsAre(b));
  EXPECT_EQ(f_.Find(b)->prefix_wait(), 3);
}

TEST_F(SchedulerShortWaitTest, TheBoundIsOneForAllItsWaits) {
  const SequenceId a = Enqueue(60), b = Enqueue(60), c = Enqueue(60);
  f_.Admit();
  f_.Admit();  // two steps
  f_.Release(a);
  EXPECT_THAT(f_.Admit(), ElementsAre(b)) << "the third has a step left";
  EXPECT_THAT(f_.Admit(), ElementsAre(c));
}

class SchedulerNoWaitTest : public SchedulerPrefixWaitTest {
 protected:
  SchedulerNoWaitTest()
      : SchedulerPrefixWaitTest(
            {.max_step_tokens = 16, .max_running_sequences = 8, .max_prefix_wait_steps = 0}) {}
};

TEST_F(SchedulerNoWaitTest, NoStepsMeanNoWait) {
  const SequenceId a = Enqueue(60), b = Enqueue(60);
  EXPECT_THAT(f_.Admit(), ElementsAre(a, b));
}

class SchedulerFewPlacesTest : public SchedulerPrefixWaitTest {
 protected:
  SchedulerFewPlacesTest()
      : SchedulerPrefixWaitTest({.max_step_tokens = 16, .max_running_sequences = 3}) {}
};

TEST_F(SchedulerFewPlacesTest, NoMoreWaitThanThereArePlacesInAll) {
  const SequenceId a = Enqueue(60), b = Enqueue(60), c = Enqueue(60), d = Enqueue(60),
                   e = Enqueue(60), behind = Enqueue(0), other = Enqueue(0, 1);
  EXPECT_THAT(f_.Admit(), ElementsAre(other, a)) << "three more wait, and who is behind the next";
  f_.Release(other);
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_THAT(f_.Admit(), ElementsAre(b, c));
  f_.Release(a);
  f_.Release(b);
  EXPECT_THAT(f_.Admit(), ElementsAre(d, e));
  f_.Release(c);
  EXPECT_THAT(f_.Admit(), ElementsAre(behind));
}

class SchedulerWaitForLoanTest : public SchedulerPrefixWaitTest {
 protected:
  SchedulerWaitForLoanTest() : SchedulerPrefixWaitTest(kSmallSteps, 10) {
    TenantTable tenants = f_.scheduler().tenants();
    tenants[1].kv_reserved_bytes = 10 * kBlockBytes;
    f_.scheduler().SetTenants(tenants);
  }
};

TEST_F(SchedulerWaitForLoanTest, WhenTheOtherIsPreemptedItIsNotWaitedFor) {
  const SequenceId a = Enqueue(60);
  Request high = MakeRequest(60);
  high.arrival = kStart;
  const SequenceId b = f_.Enqueue(std::move(high));
  EXPECT_THAT(f_.Admit(), ElementsAre(a));
  EXPECT_EQ(f_.Load(0).loans, 1u);
  Step();
  const SequenceId owner = Enqueue(0, 1), another = Enqueue(0, 1);
  EXPECT_THAT(f_.Admit(), ElementsAre(owner, another));
  EXPECT_EQ(f_.Find(a), nullptr) << "5 of 10 blocks were lent";
  EXPECT_EQ(f_.scheduler().num_waiting(), 2);
  f_.Release(owner);
  f_.Release(another);
  const std::vector<SequenceId> back = f_.Admit();
  ASSERT_EQ(back.size(), 1u) << "the second waits for the first again";
  EXPECT_EQ(f_.Find(back[0])->request().id, RequestId(1));
  EXPECT_FALSE(f_.Runs(b));
  while (!f_.Runs(b)) {
    Step();
    f_.Admit();
  }
  EXPECT_EQ(Cached(b), 48);
}

}  // namespace
}  // namespace quire
