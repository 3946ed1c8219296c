#include "server/cli/load/load_results.h"

#include <gtest/gtest.h>

namespace quire::cli {
namespace {

using std::chrono::milliseconds;

const TimePoint kStart = TimePoint() + std::chrono::hours(1);
TimePoint At(int ms) { return kStart + milliseconds(ms); }

// Messages of one token at the given times.
RequestRecord Answer(int due, std::vector<int> message_times, int ended) {
  RequestRecord record;
  record.prompt_tokens = 10;
  record.scheduled = At(due);
  record.measured = due >= 0;
  record.result.sent = At(due + 1);
  for (int time : message_times) record.result.messages.push_back({At(time), 1});
  record.result.output_tokens = static_cast<int64_t>(message_times.size());
  record.result.ended = At(ended);
  return record;
}

RequestRecord Refusal(int due, int ended, Outcome outcome, const char* code) {
  RequestRecord record = Answer(due, {}, ended);
  record.result.outcome = outcome;
  record.result.code = code;
  record.result.detail = "why";
  return record;
}

LoadCollector MakeCollector(const Slo& slo = {}) {
  return LoadCollector({{.name = "a"}, {.name = "b"}}, slo, {At(0), At(1000)}, 1000, 1);
}

TEST(LoadResultsTest, LatenciesCountFromWhenTheRequestWasDue) {
  LoadCollector collector = MakeCollector();
  RequestRecord late = Answer(100, {350, 360, 380}, 390);
  late.result.sent = At(300);
  collector.Add(late);
  const LoadGroup& group = collector.tenants()[0];
  EXPECT_NEAR(group.ttft.Summarize().max, 0.25, 1e-6);
  EXPECT_NEAR(group.end_to_end.Summarize().max, 0.29, 1e-6);
  EXPECT_EQ(group.inter_token.Summarize().count, 2);
  EXPECT_NEAR(group.inter_token.Summarize().max, 0.02, 1e-6);
  EXPECT_NEAR(group.per_token.Summarize().max, 0.015, 1e-6);
  EXPECT_NEAR(collector.lag().Summarize().max, 0.2, 1e-6);
}

TEST(LoadResultsTest, RequestsAreCountedByOutcomeAndCodeForTheirTenantAndInAll) {
  LoadCollector collector = MakeCollector();
  collector.Add(Answer(0, {10}, 20));
  RequestRecord rejected = Refusal(10, 14, Outcome::kRejected, "RESOURCE_EXHAUSTED");
  rejected.tenant = 1;
  rejected.result.retry_hint = true;
  collector.Add(rejected);
  collector.Add(Refusal(20, 30, Outcome::kFailed, "UNAVAILABLE"));
  collector.Add(Refusal(30, 99, Outcome::kUnfinished, "unfinished"));
  EXPECT_EQ(collector.tenants()[0].sent, 3);
  EXPECT_EQ(collector.tenants()[0].rejected, 0);
  EXPECT_EQ(collector.tenants()[1].rejected, 1);
  const LoadGroup& total = collector.total();
  EXPECT_EQ(total.sent, 4);
  EXPECT_EQ(total.ok, 1);
  EXPECT_EQ(total.rejected, 1);
  EXPECT_EQ(total.failed, 1);
  EXPECT_EQ(total.unfinished, 1);
  EXPECT_EQ(total.retry_hints, 1);
  EXPECT_EQ(total.by_code.at("RESOURCE_EXHAUSTED"), 1);
  EXPECT_NEAR(total.rejection.Summarize().max, 0.004, 1e-6);
  EXPECT_EQ(total.end_to_end.Summarize().count, 1);
  EXPECT_EQ(collector.last_failure(), "UNAVAILABLE: why");
}

TEST(LoadResultsTest, TheWarmUpHasNoPartInCountsButItsTokensInTheWindowDo) {
  LoadCollector collector = MakeCollector();
  collector.Add(Answer(-100, {-50, 10, 20}, 30));
  EXPECT_EQ(collector.total().sent, 0);
  EXPECT_EQ(collector.total().ttft.Summarize().count, 0);
  EXPECT_EQ(collector.total().output_tokens, 2);
  EXPECT_EQ(collector.total().input_tokens, 0);
  EXPECT_EQ(collector.total().completed_in_window, 1);
}

TEST(LoadResultsTest, WhatHappensAfterTheWindowAddsNothingToRates) {
  LoadCollector collector = MakeCollector({.ttft_seconds = 5});
  collector.Add(Answer(900, {990, 1010, 1020}, 1030));
  const LoadGroup& total = collector.total();
  EXPECT_EQ(total.ok, 1);
  EXPECT_EQ(total.met_slo, 1);
  EXPECT_EQ(total.output_tokens, 1);
  EXPECT_EQ(total.input_tokens, 10);
  EXPECT_EQ(total.completed_in_window, 0);
  EXPECT_EQ(total.good_in_window, 0);
}

TEST(LoadResultsTest, TheServersCountOfTokensIsSpreadOverTheMessages) {
  LoadCollector collector = MakeCollector();
  RequestRecord record = Answer(0, {500, 990, 1010, 1020}, 1030);
  record.result.output_tokens = 8;
  collector.Add(record);
  EXPECT_EQ(collector.total().output_tokens, 4);
  EXPECT_NEAR(collector.total().per_token.Summarize().max, 0.52 / 7, 1e-6);
}

TEST(LoadResultsTest, GoodputNeedsBothPartsOfTheSlo) {
  const Slo both{.ttft_seconds = 0.1, .itl_seconds = 0.02};
  const struct {
    RequestRecord record;
    bool met;
  } kCases[] = {
      {Answer(0, {100, 110, 140}, 150), true},   // the mean of 10 and 30 ms
      {Answer(0, {101, 110, 120}, 130), false},  // its first token is late
      {Answer(0, {50, 60, 91}, 100), false},     // 20.5 ms a token
      {Answer(0, {100}, 100), true},             // no later token
      {Refusal(0, 1, Outcome::kRejected, "RESOURCE_EXHAUSTED"), false},
      {Answer(0, {}, 10), false},
  };
  const LoadCollector collector = MakeCollector(both);
  for (const auto& example : kCases) EXPECT_EQ(collector.MetSlo(example.record), example.met);
}

TEST(LoadResultsTest, ACutOffAnswerStillCountsItsFirstToken) {
  LoadCollector collector = MakeCollector();
  RequestRecord record = Answer(0, {400, 500}, 600);
  record.result.outcome = Outcome::kUnfinished;
  collector.Add(record);
  EXPECT_EQ(collector.total().ttft.Summarize().count, 1);
  EXPECT_EQ(collector.total().end_to_end.Summarize().count, 0);
  EXPECT_EQ(collector.total().met_slo, 0);
}

TEST(LoadResultsTest, TheSeriesHasWhatHappenedInEachSecond) {
  LoadCollector collector = MakeCollector();
  collector.Add(Answer(500, {900, 1100, 2100}, 2200));
  collector.Add(Refusal(1500, 1600, Outcome::kRejected, "RESOURCE_EXHAUSTED"));
  const auto& series = collector.series();
  ASSERT_EQ(series.size(), 3u);
  EXPECT_EQ(series[0].due, 1);
  EXPECT_EQ(series[0].output_tokens, 1);
  EXPECT_NEAR(series[0].worst_ttft, 0.4, 1e-6);
  EXPECT_EQ(series[1].due, 1);
  EXPECT_EQ(series[1].rejected, 1);
  EXPECT_EQ(series[2].ok, 1);
}

}  // namespace
}  // namespace quire::cli
