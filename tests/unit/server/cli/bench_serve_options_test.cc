#include "server/cli/bench_serve_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "server/cli/bench_serve_report.h"

namespace quire::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The arguments as the program would see them; a CLI11 error is a test failure.
ServeOptions Parse(std::vector<std::string> arguments) {
  CLI::App app;
  ServeOptions options;
  AddServeOptions(&app, &options);
  std::reverse(arguments.begin(), arguments.end());
  app.parse(arguments);
  return options;
}

std::string PlanError(std::vector<std::string> arguments) {
  const auto plan = MakeServePlan(Parse(std::move(arguments)));
  return plan.ok() ? "" : std::string(plan.status().message());
}

TEST(ServeOptionsTest, WithoutATenantThereIsOneThatSaysNothingOfItself) {
  const ServeOptions options = Parse({"--rate", "5", "--prompt-tokens", "99", "--warmup", "1"});
  const auto plan = MakeServePlan(options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->tenants.size(), 1u);
  EXPECT_EQ(plan->tenants[0].rate, 5);
  EXPECT_EQ(plan->tenants[0].prompt.median, 99);
  EXPECT_EQ(plan->warmup, std::chrono::seconds(1));
  EXPECT_EQ(plan->duration, std::chrono::seconds(30));
  EXPECT_THAT(MakeClientOptions(options, *plan).tenant_headers[0], IsEmpty());
}

TEST(ServeOptionsTest, ATenantsNameAndKeyTravelAsHeaders) {
  const ServeOptions options =
      Parse({"--tenant", "name=a,rate=1,key=k,priority=2", "--tenant", "name=b,concurrency=2"});
  const auto plan = MakeServePlan(options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const ClientOptions client = MakeClientOptions(options, *plan);
  const ClientOptions::Headers first = {{"x-quire-tenant", "a"}, {"authorization", "Bearer k"}};
  EXPECT_EQ(client.tenant_headers[0], first);
  EXPECT_EQ(client.tenant_headers[1], (ClientOptions::Headers{{"x-quire-tenant", "b"}}));
  EXPECT_EQ(client.priorities[0], 2);
}

TEST(ServeOptionsTest, ANumberOfRequestsNeedsNoDuration) {
  EXPECT_EQ(MakeServePlan(Parse({"--rate", "1", "--requests", "10"}))->duration,
            std::chrono::hours(24));
  const auto both = MakeServePlan(Parse({"--rate", "1", "--requests", "10", "--duration", "2"}));
  EXPECT_EQ(both->duration, std::chrono::seconds(2));
}

TEST(ServeOptionsTest, WhatMakesNoSenseIsNamed) {
  EXPECT_THAT(PlanError({}), HasSubstr("neither a rate (open loop) nor a concurrency"));
  EXPECT_THAT(PlanError({"--rate", "-1"}), HasSubstr("a rate of -1"));
  EXPECT_THAT(PlanError({"--tenant", "name=a,rate=x"}),
              HasSubstr("--tenant name=a,rate=x: rate=x is not a number"));
  EXPECT_THAT(PlanError({"--rate", "1", "--tenant", "name=a", "--tenant", "name=a"}),
              HasSubstr("two tenants are named 'a'"));
  EXPECT_THAT(PlanError({"--rate", "1", "--tenant-header", "X-Tenant"}),
              HasSubstr("'X-Tenant' is no header's name"));
  EXPECT_THAT(PlanError({"--rate", "1", "--tenant-header", "tenant-bin"}),
              HasSubstr("is no header's name"));
  EXPECT_THAT(PlanError({"--rate", "1", "--tenant", "name=a,priority=-1"}),
              HasSubstr("a priority of -1 is not 0 or more"));
  EXPECT_THAT(PlanError({"--rate", "1", "--tenant", "name=a,weight=2"}),
              HasSubstr("tenant 'a': its weight is the server's to say"));
  EXPECT_EQ(PlanError({"--api", "openai", "--rate", "1", "--tenant", "name=a,priority=-1"}), "");
  EXPECT_THROW(Parse({"--rate", "1", "--concurrency", "1"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--api", "http"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--warmup", "-1"}), CLI::ParseError);
}

class ServeReportTest : public testing::Test {
 protected:
  ServeReportTest()
      : results_({{.name = "a", .rate = 2, .key = "secret"}, {.name = "b", .concurrency = 1}},
                 {.ttft_seconds = 1}, {TimePoint(), TimePoint() + std::chrono::seconds(10)}, 100,
                 1) {
    report_.tenants = {{.name = "a", .rate = 2, .key = "secret"}, {.name = "b", .concurrency = 1}};
    report_.slo.ttft_seconds = 1;
    report_.summary.window_seconds = 10;
    report_.results = &results_;
    report_.machine_cores = 2;
  }

  void AddAnswer(std::chrono::milliseconds lag) {
    RequestRecord record;
    record.measured = true;
    record.result.sent = TimePoint() + lag;
    record.result.messages = {{TimePoint() + std::chrono::seconds(1), 4}};
    record.result.output_tokens = 4;
    record.result.ended = TimePoint() + std::chrono::seconds(2);
    results_.Add(record);
  }

  LoadCollector results_;
  ServeReport report_;
};

TEST_F(ServeReportTest, JsonAndTableHaveTheSameNumbersAndNoKey) {
  AddAnswer(std::chrono::milliseconds(1));
  const auto json = ServeReportJson(report_);
  EXPECT_EQ(json["total"]["ok"], 1);
  EXPECT_EQ(json["tenants"][0]["load"]["rate"], 2);
  EXPECT_DOUBLE_EQ(json["total"]["goodput_per_second"], 0.1);
  EXPECT_DOUBLE_EQ(json["total"]["output_tokens_per_second"], 0.4);
  EXPECT_DOUBLE_EQ(json["total"]["end_to_end_seconds"]["p99"], 2);
  EXPECT_EQ(json["client"]["was_bottleneck"], false);
  EXPECT_THAT(json["warnings"], IsEmpty());
  std::ostringstream table;
  PrintServeReport(report_, table);
  EXPECT_THAT(table.str(), HasSubstr("2000.00"));
  EXPECT_THAT(table.str(), HasSubstr("100.0%"));
  EXPECT_THAT(table.str(), Not(HasSubstr("secret")));
  EXPECT_THAT(json.dump(), Not(HasSubstr("secret")));
}

TEST_F(ServeReportTest, AClientThatWasTheBottleneckSaysSo) {
  AddAnswer(std::chrono::milliseconds(50));
  EXPECT_THAT(ServeWarnings(report_), testing::ElementsAre(HasSubstr("p99 50.00 ms")));
  EXPECT_EQ(ServeReportJson(report_)["client"]["was_bottleneck"], true);
}

TEST_F(ServeReportTest, ABusyClientAndHeldBackRequestsAreWarnedOf) {
  report_.client_cores = 1.7;
  report_.summary.held_back = 3;
  EXPECT_THAT(ServeWarnings(report_),
              testing::ElementsAre(HasSubstr("held 3 requests back"), HasSubstr("1.7 of 2 cores")));
}

TEST_F(ServeReportTest, ARunThatWasGivenUpIsWarnedOf) {
  report_.summary.end = RunEnd::kGaveUp;
  EXPECT_THAT(ServeWarnings(report_), testing::ElementsAre(HasSubstr("given up")));
  EXPECT_EQ(ServeReportJson(report_)["end"], "gave up");
}

}  // namespace
}  // namespace quire::cli
