#include <functional>
#include <thread>

#include "core/base/refusal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"

// Tenants from outside the engine: their policies, what is refused to them, and what is counted.

namespace quire::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kBlockBytes = 1024;  // of 16 tokens; the cache has 64 of them

TenantTable MakeTenants(size_t count) {
  TenantTable tenants(count);
  for (size_t i = 0; i < count; ++i) tenants[i].name = std::string(1, static_cast<char>('a' + i));
  return tenants;
}

class EngineTenantsTest : public ::testing::Test {
 protected:
  explicit EngineTenantsTest(const std::function<void(EngineHarness::Options*)>& change =
                                 [](auto*) {})
      : h_(Options(change)) {}
  ~EngineTenantsTest() override { EXPECT_THAT(h_.runner.violations(), IsEmpty()); }

  static EngineHarness::Options Options(
      const std::function<void(EngineHarness::Options*)>& change) {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    change(&options);
    return options;
  }

  Request MakeRequest(uint32_t tenant, size_t prompt_tokens, int32_t max_tokens) {
    Request request = h_.MakeRequest(std::vector<TokenId>(prompt_tokens, 1), max_tokens);
    request.tenant = TenantId(tenant);
    return request;
  }
  absl::Status Submit(uint32_t tenant, size_t prompt_tokens, int32_t max_tokens) {
    return h_.engine.Submit(MakeRequest(tenant, prompt_tokens, max_tokens));
  }
  RequestId MustSubmit(uint32_t tenant, size_t prompt_tokens, int32_t max_tokens) {
    Request request = MakeRequest(tenant, prompt_tokens, max_tokens);
    const RequestId id = request.id;
    EXPECT_TRUE(h_.engine.Submit(std::move(request)).ok());
    return id;
  }
  void SetTenants(const TenantTable& tenants) {
    ASSERT_TRUE(h_.engine.SetTenants(tenants).ok());
    h_.engine.Step();
  }
  void Step(Duration duration = std::chrono::milliseconds(1)) {
    h_.clock.Advance(duration);
    h_.engine.Step();
  }
  TenantStats Stats(size_t tenant) { return h_.engine.Tenants().at(tenant); }

  EngineHarness h_;
};

void ExpectRefusal(const absl::Status& status, absl::StatusCode code, const std::string& reason,
                   std::optional<Duration> retry_after = std::nullopt) {
  EXPECT_EQ(status.code(), code) << status;
  const std::optional<Refusal> refusal = RefusalOf(status);
  ASSERT_TRUE(refusal.has_value()) << status;
  EXPECT_EQ(refusal->reason, reason);
  EXPECT_EQ(refusal->retry_after, retry_after) << reason;
}

TEST_F(EngineTenantsTest, ThereIsOneTenantAtFirst) {
  EXPECT_EQ(h_.engine.Tenants().size(), 1u);
  EXPECT_TRUE(Submit(0, 4, 4).ok());
  const absl::Status status = Submit(1, 4, 4);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "there is no tenant 1");
}

class EngineFloorTest : public EngineTenantsTest {
 protected:
  EngineFloorTest()
      : EngineTenantsTest([](EngineHarness::Options* options) { options->prefix_cache = true; }) {}
};

TEST_F(EngineFloorTest, WhatIsOwedToAllMustFitTheCache) {
  TenantTable tenants = MakeTenants(2);
  tenants[0].kv_reserved_bytes = 40 * kBlockBytes;
  tenants[1].kv_reserved_bytes = 20 * kBlockBytes;
  tenants[1].prefix_floor_bytes = 4 * kBlockBytes;
  EXPECT_TRUE(h_.engine.SetTenants(tenants).ok());
  for (int64_t* const amount : {&tenants[0].kv_reserved_bytes, &tenants[1].prefix_floor_bytes}) {
    const int64_t before = *amount;
    for (const int64_t more : {before + 1, int64_t{INT64_MAX}}) {
      *amount = more;
      const absl::Status status = h_.engine.SetTenants(tenants);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()), HasSubstr("exceed the KV cache of 65536 bytes"));
    }
    *amount = before;
  }
}

TEST_F(EngineTenantsTest, ATenantKeepsItsPlaceAndWhatContradictsItselfIsRefused) {
  SetTenants(MakeTenants(2));
  EXPECT_THAT(std::string(h_.engine.SetTenants(MakeTenants(1)).message()), HasSubstr("its place"));
  TenantTable bad = MakeTenants(3);
  bad[2].weight = 0;
  EXPECT_THAT(std::string(h_.engine.SetTenants(bad).message()), HasSubstr("tenant c: weight 0"));
  EXPECT_FALSE(h_.engine.SetTenants({}).ok());
  EXPECT_TRUE(Submit(1, 4, 4).ok());
  EXPECT_FALSE(Submit(2, 4, 4).ok()) << "nothing has changed";
}

TEST_F(EngineTenantsTest, EachTenantsRequestsAndTokensAreCounted) {
  SetTenants(MakeTenants(2));
  MustSubmit(1, 20, 5);
  const RequestId cancelled = MustSubmit(1, 10, 100);
  MustSubmit(0, 4, 3);
  EXPECT_FALSE(Submit(1, 1000, 1000).ok());
  Step();
  EXPECT_EQ(Stats(1).load.running, 2);
  EXPECT_EQ(Stats(1).load.kv_bytes, (2 + 7) * kBlockBytes);
  h_.engine.Cancel(cancelled);
  ASSERT_TRUE(h_.RunUntilIdle());
  const TenantStats stats = Stats(1);
  EXPECT_EQ(stats.name, "b");
  EXPECT_EQ(stats.accepted, 2u);
  EXPECT_EQ(stats.rejected, 1u);
  EXPECT_EQ(stats.started, 2u);
  EXPECT_EQ(stats.finished[static_cast<size_t>(FinishReason::kLength)], 1u);
  EXPECT_EQ(stats.finished[static_cast<size_t>(FinishReason::kCancelled)], 1u);
  EXPECT_EQ(stats.prompt_tokens, 30u);
  EXPECT_EQ(stats.generated_tokens, 5u + 1u);
  EXPECT_EQ(stats.load.running, 0);
  EXPECT_EQ(stats.load.kv_bytes, 0);
  EXPECT_EQ(stats.load.cost, 30 * kPrefillTokenCost + 6 * kSampledTokenCost);
  EXPECT_GT(stats.load.kv_byte_seconds, 0);
  EXPECT_EQ(Stats(0).accepted, 1u);
  EXPECT_EQ(Stats(0).generated_tokens, 3u);
}

TEST_F(EngineTenantsTest, PreemptionsAreCountedForWhoWasPreempted) {
  TenantTable tenants = MakeTenants(2);
  tenants[0].kv_reserved_bytes = 64 * kBlockBytes;
  SetTenants(tenants);
  MustSubmit(1, 20, 400);
  Step();
  EXPECT_EQ(Stats(1).load.loans, 1u);
  MustSubmit(0, 20, 480);
  MustSubmit(0, 20, 480);
  Step();
  EXPECT_EQ(Stats(1).load.preempted, 1u);
  EXPECT_EQ(Stats(1).load.waiting, 1);
  EXPECT_EQ(Stats(0).load.preempted, 0u);
  ASSERT_TRUE(h_.RunUntilIdle());
  EXPECT_EQ(Stats(1).started, 1u) << "once, however often it is preempted";
  EXPECT_EQ(Stats(1).generated_tokens, 400u);
  EXPECT_EQ(Stats(1).load.recomputed_tokens, 21u);
}

class EngineRefusalTest : public EngineTenantsTest {
 protected:
  EngineRefusalTest()
      : EngineTenantsTest([](EngineHarness::Options* options) {
          options->engine.max_running_requests = 1;
          options->engine.max_queued_requests = 30;
        }) {}
};

TEST_F(EngineRefusalTest, AFullQueueOfATenantLeavesRoomForOthers) {
  TenantTable tenants = MakeTenants(3);
  tenants[0].max_queued = 2;
  tenants[1].max_queued_tokens = 20;
  SetTenants(tenants);
  MustSubmit(0, 4, 4);
  MustSubmit(0, 4, 4);
  const absl::Status full = Submit(0, 4, 4);
  ExpectRefusal(full, absl::StatusCode::kResourceExhausted, "TENANT_QUEUE_FULL",
                std::chrono::seconds(1));
  EXPECT_THAT(std::string(full.message()), HasSubstr("2 of its requests with 8 prompt tokens"));
  MustSubmit(1, 50, 4);  // alone it gets in
  ExpectRefusal(Submit(1, 1, 4), absl::StatusCode::kResourceExhausted, "TENANT_QUEUE_FULL",
                std::chrono::seconds(1));
  MustSubmit(2, 4, 4);
  EXPECT_EQ(h_.engine.Stats().rejected_tenant_queue_full, 2u);
  EXPECT_EQ(h_.engine.Stats().rejected_queue_full, 0u);
  ASSERT_TRUE(h_.RunUntilIdle());
  MustSubmit(0, 4, 4);
}

TEST_F(EngineRefusalTest, TheServersQueueIsBoundedForAllTogether) {
  SetTenants(MakeTenants(2));
  for (int i = 0; i < 30; ++i) MustSubmit(static_cast<uint32_t>(i % 2), 4, 4);
  ExpectRefusal(Submit(0, 4, 4), absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                std::chrono::seconds(1));
}

TEST_F(EngineRefusalTest, WhatCanNeverRunIsRefusedAndNotToBeTriedAgain) {
  TenantTable tenants = MakeTenants(2);
  tenants[1].kv_limit_bytes = 4 * kBlockBytes;
  SetTenants(tenants);
  ExpectRefusal(Submit(0, 500, 13), absl::StatusCode::kInvalidArgument, "TOO_LONG");
  MustSubmit(1, 40, 25);
  const absl::Status status = Submit(1, 40, 26);
  ExpectRefusal(status, absl::StatusCode::kInvalidArgument, "TENANT_KV_LIMIT");
  EXPECT_THAT(std::string(status.message()), HasSubstr("need 5120 bytes of KV"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the tenant may have 4096"));
  EXPECT_EQ(Stats(1).rejected, 1u);
  EXPECT_EQ(h_.engine.Stats().rejected_too_long, 2u);
  const Request one = MakeRequest(0, 500, 13);
  EXPECT_FALSE(h_.engine.Submit({one, one, one}).ok());
  EXPECT_EQ(Stats(0).rejected, 1u + 3u) << "each answer is a request";
  EXPECT_TRUE(h_.engine.Submit(std::vector<Request>()).ok());
  const std::vector<Request> many(31, MakeRequest(1, 4, 4));
  ExpectRefusal(h_.engine.Submit(many), absl::StatusCode::kInvalidArgument, "TOO_MANY_ANSWERS");
  EXPECT_EQ(Stats(1).rejected, 1u + 31u);
}

TEST_F(EngineRefusalTest, MoreAnswersThanTheTenantMayEverHaveWaitingAreNotToldToWait) {
  TenantTable tenants = MakeTenants(2);
  tenants[1].max_queued = 3;
  SetTenants(tenants);
  const std::vector<Request> four(4, MakeRequest(1, 4, 4));
  ExpectRefusal(h_.engine.Submit(four), absl::StatusCode::kInvalidArgument, "TOO_MANY_ANSWERS");
  EXPECT_EQ(Stats(1).rejected, 4u);
  EXPECT_EQ(h_.engine.Stats().rejected_too_long, 4u);
}

TEST_F(EngineRefusalTest, ADeadlineThatTheQueueCannotMeetIsRefusedAtOnce) {
  TenantTable tenants = MakeTenants(2);
  tenants[0].max_priority = 1;
  SetTenants(tenants);
  for (int i = 0; i < 25; ++i) MustSubmit(0, 10, 10);
  // A request of ten steps starts each second.
  for (int step = 0; step < 100; ++step) Step(std::chrono::milliseconds(100));
  const auto submit = [this](uint32_t tenant, int seconds, int32_t priority) {
    Request request = MakeRequest(tenant, 10, 10);
    request.deadline = request.arrival + std::chrono::seconds(seconds);
    request.priority = priority;
    return h_.engine.Submit(std::move(request));
  };
  const absl::Status status = submit(0, 2, 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  ASSERT_TRUE(RefusalOf(status).has_value());
  EXPECT_EQ(RefusalOf(status)->reason, "DEADLINE_UNREACHABLE");
  EXPECT_NEAR(ToSeconds(RefusalOf(status)->retry_after.value()), 7.5, 1.5) << "half the queue";
  EXPECT_TRUE(submit(0, 60, 0).ok());
  EXPECT_TRUE(submit(0, 2, 1).ok()) << "it may pass others";
  EXPECT_TRUE(submit(1, 2, 0).ok()) << "nothing of this tenant waits";
  EXPECT_EQ(h_.engine.Stats().rejected_deadline, 1u);
  tenants[0].max_priority = 0;
  SetTenants(tenants);
  EXPECT_FALSE(submit(0, 2, 1).ok()) << "its priority is lowered to what the tenant may ask for";
}

TEST_F(EngineRefusalTest, TheTimeBeforeARequestCameIsNoWaiting) {
  Step();
  Step(std::chrono::seconds(60));  // nothing to do
  h_.clock.Advance(std::chrono::seconds(60));
  MustSubmit(0, 10, 1);
  ASSERT_TRUE(h_.RunUntilIdle());
  MustSubmit(0, 10, 10);
  Request request = MakeRequest(0, 10, 10);
  request.deadline = request.arrival + std::chrono::seconds(5);
  EXPECT_TRUE(h_.engine.Submit(std::move(request)).ok());
  ASSERT_TRUE(h_.RunUntilIdle());
}

TEST_F(EngineRefusalTest, WhoWaitsForItsOwnRateMakesNobodyElseWait) {
  TenantTable tenants = MakeTenants(2);
  tenants[0].tokens_per_second = 0.1;
  SetTenants(tenants);
  MustSubmit(0, 10, 1);
  Step();
  MustSubmit(0, 10, 1);  // waits for its rate
  for (int i = 0; i < 20; ++i) Step(std::chrono::seconds(1));
  MustSubmit(1, 10, 1);
  Step();
  MustSubmit(1, 10, 1);
  Request request = MakeRequest(1, 10, 1);
  request.deadline = request.arrival + std::chrono::seconds(5);
  EXPECT_TRUE(h_.engine.Submit(std::move(request)).ok());
  h_.engine.AbortAll();
  ASSERT_TRUE(h_.RunUntilIdle());
}

TEST_F(EngineRefusalTest, ADrainingServerSaysSo) {
  h_.engine.StopAccepting();
  ExpectRefusal(Submit(0, 4, 4), absl::StatusCode::kUnavailable, "DRAINING");
  EXPECT_EQ(Stats(0).rejected, 1u);
}

class EngineFailedTest : public EngineTenantsTest {
 protected:
  EngineFailedTest()
      : EngineTenantsTest([](EngineHarness::Options* options) { options->model.fail_launch = 0; }) {
  }
};

TEST_F(EngineFailedTest, AFailedDeviceIsNamed) {
  MustSubmit(0, 4, 4);
  Step();
  ExpectRefusal(Submit(0, 4, 4), absl::StatusCode::kUnavailable, "DEVICE_FAILED");
}

TEST_F(EngineRefusalTest, AReloadEndsThoseThatCanNoLongerRun) {
  SetTenants(MakeTenants(2));
  const RequestId running = MustSubmit(1, 40, 60), waiting = MustSubmit(1, 40, 60),
                  small = MustSubmit(1, 8, 8);
  Step();
  const RequestId crossing = MustSubmit(1, 40, 60);
  TenantTable tenants = MakeTenants(2);
  tenants[1].kv_limit_bytes = 4 * kBlockBytes;
  SetTenants(tenants);
  for (const RequestId id : {waiting, crossing}) {
    ASSERT_EQ(h_.sink.of(id).terminals, 1);
    EXPECT_EQ(h_.sink.of(id).finish->reason, FinishReason::kError);
    ExpectRefusal(h_.sink.of(id).finish->status, absl::StatusCode::kInvalidArgument,
                  "TENANT_KV_LIMIT");
  }
  EXPECT_EQ(h_.engine.live_requests(), 2);
  ASSERT_TRUE(h_.RunUntilIdle());
  EXPECT_EQ(h_.sink.of(running).tokens.size(), 60u) << "it goes on";
  EXPECT_EQ(h_.sink.of(small).tokens.size(), 8u);
}

class EngineRateTest : public EngineTenantsTest {
 protected:
  EngineRateTest() {
    TenantTable tenants = MakeTenants(1);
    tenants[0].tokens_per_second = 10;
    tenants[0].burst_tokens = 20;
    SetTenants(tenants);
    MustSubmit(0, 29, 1);  // 10 tokens too many: a second
    Step();
  }
};

TEST_F(EngineRateTest, ARequestWaitsForItsTenantsRate) {
  const RequestId id = MustSubmit(0, 4, 4);
  EXPECT_FALSE(h_.engine.Step());
  Step(std::chrono::milliseconds(999));
  EXPECT_EQ(h_.engine.scheduler().num_running(), 0);
  Step(std::chrono::milliseconds(2));
  EXPECT_EQ(h_.engine.scheduler().num_running(), 1);
  ASSERT_TRUE(h_.RunUntilIdle());
  EXPECT_EQ(h_.sink.of(id).tokens.size(), 4u);
}

TEST_F(EngineRateTest, TheWaitForWorkEndsWhenTheRateAllowsMore) {
  MustSubmit(0, 4, 4);
  EXPECT_FALSE(h_.engine.Step());
  h_.clock.Advance(std::chrono::milliseconds(1001));
  h_.engine.WaitForWork();  // or it would for ever
  EXPECT_TRUE(h_.engine.Step());
}

TEST_F(EngineRateTest, AWatchdogSeesThatARequestWaitsForItsRate) {
  TenantTable tenants = MakeTenants(1);
  tenants[0].tokens_per_second = 0.001;
  SetTenants(tenants);  // which forgives the second
  MustSubmit(0, 8, 1);  // 9 tokens: hours
  ASSERT_TRUE(h_.RunUntilIdle());
  MustSubmit(0, 4, 4);
  EXPECT_FALSE(h_.engine.Step());
  ASSERT_GT(h_.engine.scheduler().NextOpening(), h_.clock.Now() + std::chrono::hours(1));
  EXPECT_EQ(h_.engine.Progress().rests_until, TimePoint{});
  std::thread engine([this] { h_.engine.WaitForWork(); });
  while (h_.engine.Progress().rests_until < h_.clock.Now() + std::chrono::hours(1)) {
    std::this_thread::yield();
  }
  h_.engine.Wake();
  engine.join();
  EXPECT_EQ(h_.engine.Progress().rests_until, TimePoint{});
  h_.engine.AbortAll();
  ASSERT_TRUE(h_.RunUntilIdle());
}

TEST_F(EngineRateTest, TheWaitForWorkEndsAtADeadline) {
  Request request = MakeRequest(0, 4, 4);
  request.deadline = request.arrival + std::chrono::milliseconds(500);
  const RequestId id = request.id;
  ASSERT_TRUE(h_.engine.Submit(std::move(request)).ok());
  EXPECT_FALSE(h_.engine.Step());
  h_.clock.Advance(std::chrono::milliseconds(500));
  h_.engine.WaitForWork();
  h_.engine.Step();
  EXPECT_EQ(h_.sink.of(id).finish->reason, FinishReason::kDeadline);
}

}  // namespace
}  // namespace quire::testing
