#include "server/cli/bench_fleet_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace quire::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

FleetNumbers Numbers(double ttft) {
  FleetNumbers numbers;
  numbers.ttft_p50 = numbers.ttft_p90 = numbers.ttft_p99 = ttft;
  numbers.goodput_per_second = 8;
  numbers.hit_ratio = 0.5;
  numbers.kv_mean = numbers.kv_max = 0.25;
  numbers.least_share = 0.9;
  numbers.tenants = {{.name = "a", .ttft_p50 = ttft, .fairness = {.due = 0.75, .share = 0.7}},
                     {.name = "b", .fairness = {.due = 0.25, .share = 0.3}}};
  return numbers;
}

FleetReport Report() {
  FleetReport report;
  report.model = "shape";
  report.times_from = "gpu.json";
  report.times.step = 1e-3;
  report.load.tenants = {{.name = "a", .rate = 1}, {.name = "b", .concurrency = 2}};
  report.load.seed = 5;
  report.slo.ttft_seconds = 1;
  for (const int32_t replicas : {1, 10}) {
    for (const char* policy : {"round-robin", "least-kv"}) {
      report.rows.push_back({.replicas = replicas,
                             .policy = policy,
                             .seeds = {Numbers(0.010 * replicas), Numbers(0.014 * replicas)}});
    }
  }
  return report;
}

std::string Printed(const FleetReport& report) {
  std::ostringstream out;
  PrintFleet(report, out);
  return out.str();
}

TEST(FleetReportTest, SeedsHaveAMeanAndADeviation) {
  const FleetSpread spread = SpreadOf({1, 2, 3, 6});
  EXPECT_DOUBLE_EQ(spread.mean, 3);
  EXPECT_NEAR(spread.deviation, 2.160247, 1e-6);
  EXPECT_EQ(SpreadOf({4}).deviation, 0);
  EXPECT_THAT(Printed(Report()), HasSubstr("12.0 +-2.8"));
  const auto json = FleetJson(Report());
  EXPECT_NEAR(json["results"][2]["mean"]["ttft_seconds_p50"], 0.12, 1e-9);
  EXPECT_EQ(json["results"][0]["seeds"][1]["seed"], 6);
  EXPECT_EQ(json["results"][0]["seeds"][1]["tenants"][0]["share"], 0.7);
  EXPECT_EQ(json["step_times"]["seconds"]["step"], 1e-3);
}

TEST(FleetReportTest, WhatDoesNotOccurHasNoColumn) {
  FleetReport report = Report();
  std::string table = Printed(report);
  EXPECT_THAT(table, HasSubstr("goodput/s"));
  EXPECT_THAT(table, HasSubstr("got %"));
  EXPECT_THAT(table, Not(HasSubstr("failed")));
  EXPECT_THAT(table, Not(HasSubstr("fit ")));
  report.slo = {};
  report.load.tenants.pop_back();
  report.rows[0].seeds[0].failed = 3;
  report.measured.steps = 1;
  table = Printed(report);
  EXPECT_THAT(table, Not(HasSubstr("goodput/s")));
  EXPECT_THAT(table, Not(HasSubstr("got %")));
  EXPECT_THAT(table, HasSubstr("failed"));
  EXPECT_THAT(table, HasSubstr("fit "));
}

TEST(FleetReportTest, ChartsAreBySizeOrByPolicy) {
  FleetReport report = Report();
  std::vector<Chart> charts = FleetCharts(report);
  ASSERT_EQ(charts.size(), 4u);
  EXPECT_THAT(charts[0].places, testing::ElementsAre("1", "10"));
  ASSERT_EQ(charts[0].lines.size(), 2u);
  EXPECT_EQ(charts[0].lines[1].name, "least-kv");
  EXPECT_NEAR(charts[0].lines[1].values[1], 120, 1e-9);
  EXPECT_NEAR(charts[2].lines[0].values[1], 0.8, 1e-9);  // of one of ten replicas
  report.rows.erase(report.rows.begin(), report.rows.begin() + 2);
  charts = FleetCharts(report);
  ASSERT_EQ(charts.size(), 5u);
  EXPECT_THAT(charts[0].places, testing::ElementsAre("round-robin", "least-kv"));
  EXPECT_EQ(charts[0].lines.size(), 3u);
  report.rows[0].seeds[0].hit_ratio = report.rows[0].seeds[1].hit_ratio = 0;
  EXPECT_EQ(FleetCharts(report).size(), 4u);  // 0 has no place on the axis
  std::ostringstream svg;
  WriteSvg(FleetCharts(report), svg);
  EXPECT_THAT(svg.str(), HasSubstr("10 replicas: first token"));
  report.rows.pop_back();
  EXPECT_TRUE(FleetCharts(report).empty());
}

TEST(FleetReportTest, NumbersAreOfTheMeasuredPart) {
  LoadPlan load;
  load.tenants = {{.name = "a", .rate = 1}, {.name = "b", .rate = 1}};
  const TimePoint begin = TimePoint(std::chrono::hours(1));
  FleetResult result(
      LoadCollector(load.tenants, {}, {begin, begin + std::chrono::seconds(10)}, 9, 1));
  for (const int per_token : {1, 1, 4}) {
    RequestRecord record;
    record.tenant = 1;
    record.measured = true;
    record.scheduled = begin;
    const TimePoint first = begin + std::chrono::seconds(1);
    record.result.messages = {{first, 1}, {first + std::chrono::seconds(per_token), 1}};
    record.result.output_tokens = 2;
    record.result.ended = record.result.messages.back().at;
    result.load.Add(record);
  }
  result.window_seconds = 10;
  result.fairness = {{.due = 0.75, .share = 0.6}, {.due = 0.25, .share = 0.4}};
  result.contended_seconds = 5;
  const FleetNumbers numbers = NumbersOf(result, load);
  EXPECT_DOUBLE_EQ(numbers.ttft_p50, 1);
  EXPECT_DOUBLE_EQ(numbers.per_token_p50, 1);
  EXPECT_DOUBLE_EQ(numbers.per_token_mean, 2);
  EXPECT_DOUBLE_EQ(numbers.requests_per_second, 0.3);
  EXPECT_DOUBLE_EQ(numbers.tokens_per_second, 0.6);
  EXPECT_DOUBLE_EQ(numbers.least_share, 0.8);
  EXPECT_DOUBLE_EQ(numbers.contended, 0.5);
  EXPECT_DOUBLE_EQ(numbers.tenants[1].ttft_p50, 1);
  EXPECT_DOUBLE_EQ(numbers.tenants[1].fairness.share, 0.4);
  EXPECT_DOUBLE_EQ(numbers.tenants[0].requests_per_second, 0);
}

}  // namespace
}  // namespace quire::cli
