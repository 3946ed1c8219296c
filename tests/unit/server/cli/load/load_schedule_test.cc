#include "server/cli/load/load_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace quire::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

TenantSpec OpenTenant(double rate) { return {.name = "open", .rate = rate}; }
TenantSpec ClosedTenant(int32_t streams) { return {.name = "closed", .concurrency = streams}; }

std::vector<PlannedRequest> TakeAll(LoadSchedule* schedule) {
  std::vector<PlannedRequest> requests;
  while (schedule->NextAt().has_value()) requests.push_back(schedule->Take());
  return requests;
}

TEST(LoadScheduleTest, AnOpenLoopOwesNothingToTheServer) {
  LoadPlan plan{.tenants = {OpenTenant(100)}, .seed = 3, .duration = seconds(50)};
  LoadSchedule schedule(plan, 0);
  const auto requests = TakeAll(&schedule);
  EXPECT_NEAR(static_cast<double>(requests.size()), 5000, 250);
  for (size_t i = 1; i < requests.size(); ++i) {
    EXPECT_LE(requests[i - 1].at, requests[i].at);
    EXPECT_EQ(requests[i].number, i);
  }
  EXPECT_LT(requests.back().at, seconds(50));
}

TEST(LoadScheduleTest, TenantsComeInTheOrderOfTimeAndDoNotDisturbEachOther) {
  LoadPlan alone{.tenants = {OpenTenant(10)}, .seed = 3, .duration = seconds(20)};
  alone.tenants[0].prompt.sigma = 1;
  LoadPlan both = alone;
  both.tenants.push_back(OpenTenant(30));
  LoadSchedule alone_schedule(alone, 0);
  LoadSchedule both_schedule(both, 0);
  const auto expected = TakeAll(&alone_schedule);
  std::map<int32_t, std::vector<PlannedRequest>> by_tenant;
  Duration last{};
  for (const PlannedRequest& request : TakeAll(&both_schedule)) {
    EXPECT_GE(request.at, last);
    last = request.at;
    by_tenant[request.tenant].push_back(request);
  }
  EXPECT_GT(by_tenant[1].size(), 2 * expected.size());
  ASSERT_EQ(by_tenant[0].size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(by_tenant[0][i].at, expected[i].at);
    EXPECT_EQ(by_tenant[0][i].own_tokens, expected[i].own_tokens);
  }
}

TEST(LoadScheduleTest, AClosedLoopSendsWhenAStreamIsFree) {
  LoadPlan plan{.tenants = {ClosedTenant(2)}, .duration = seconds(10)};
  LoadSchedule schedule(plan, 0);
  EXPECT_EQ(schedule.Take().at, Duration{});
  EXPECT_EQ(schedule.Take().at, Duration{});
  EXPECT_FALSE(schedule.NextAt().has_value());
  schedule.Release(0, milliseconds(700), /*pause=*/false);
  EXPECT_EQ(schedule.NextAt(), milliseconds(700));
  EXPECT_EQ(schedule.Take().number, 2u);
  schedule.Release(0, milliseconds(800), /*pause=*/true);
  EXPECT_EQ(schedule.NextAt(), milliseconds(800) + plan.retry_pause);
  schedule.Take();
  schedule.Release(0, seconds(10), /*pause=*/false);
  EXPECT_FALSE(schedule.NextAt().has_value());
}

TEST(LoadScheduleTest, AReleaseMeansNothingToAnOpenLoop) {
  LoadPlan plan{.tenants = {OpenTenant(1)}, .duration = seconds(100)};
  LoadSchedule schedule(plan, 0);
  schedule.Take();
  const auto next = schedule.NextAt();
  schedule.Release(0, Duration{}, /*pause=*/false);
  EXPECT_EQ(schedule.NextAt(), next);
}

TEST(LoadScheduleTest, TheWarmUpIsNotMeasuredAndTheNumberOfRequestsIsWithoutIt) {
  LoadPlan plan{.tenants = {OpenTenant(20)},
                .seed = 1,
                .warmup = seconds(5),
                .duration = seconds(1000),
                .max_requests = 40};
  LoadSchedule schedule(plan, 0);
  int measured = 0;
  int warmup = 0;
  for (const PlannedRequest& request : TakeAll(&schedule)) {
    EXPECT_EQ(request.measured, request.at >= seconds(5));
    ++(request.measured ? measured : warmup);
  }
  EXPECT_EQ(measured, 40);
  EXPECT_NEAR(warmup, 100, 40);
  EXPECT_TRUE(schedule.exhausted());
}

TEST(LoadScheduleTest, DrawnLengthsFitTheContext) {
  LoadPlan plan{.tenants = {OpenTenant(100)}, .seed = 6, .duration = seconds(20)};
  plan.tenants[0].prompt = {.median = 60, .sigma = 2};
  plan.tenants[0].output = {.median = 20, .sigma = 2};
  plan.tenants[0].prefix_tokens = 30;
  LoadSchedule schedule(plan, 128);
  int32_t longest = 0;
  for (const PlannedRequest& request : TakeAll(&schedule)) {
    EXPECT_EQ(request.prefix_tokens, 30);
    EXPECT_GE(request.own_tokens, 1);
    EXPECT_GE(request.output_tokens, 1);
    longest = std::max(longest, 30 + request.own_tokens + request.output_tokens);
  }
  EXPECT_EQ(longest, 128);
}

TEST(LoadScheduleTest, APlanWhoseUsualRequestsDoNotFitIsRefusedWithTheSum) {
  LoadPlan plan{.tenants = {OpenTenant(1)}};
  plan.tenants[0].prefix_tokens = 10;
  plan.tenants[0].prompt.median = 100;
  plan.tenants[0].output.median = 50;
  EXPECT_TRUE(CheckFits(plan, {.context_tokens = 160}).ok());
  EXPECT_TRUE(CheckFits(plan, {.context_tokens = 0}).ok());
  const absl::Status status = CheckFits(plan, {.context_tokens = 159});
  EXPECT_THAT(std::string(status.message()), HasSubstr("10 + 100 + 50"));
}

}  // namespace
}  // namespace quire::cli
