#include "server/cli/bench_groups_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace quire::cli {
namespace {

using ::testing::HasSubstr;

GroupsResult Result(int32_t groups, double decode_seconds, double predicted) {
  GroupsResult result;
  result.kv_groups = groups;
  result.own = groups == 8;
  result.token_bytes = 4096 * groups;
  result.blocks = 65536 / groups;
  result.sequences = {512 / groups};
  result.prefill = {.batch = 1,
                    .context = 512,
                    .chunk = 512,
                    .tokens = 512,
                    .times = {.median_seconds = 2, .min_seconds = 1.9}};
  result.decode = {{.batch = 16,
                    .context = 2048,
                    .tokens = 16,
                    .times = {.median_seconds = decode_seconds, .min_seconds = decode_seconds}}};
  result.predicted_seconds = {predicted};
  return result;
}

GroupsReport Report() {
  GroupsReport report;
  report.model = "some-shape";
  report.compute_dtype = "bf16";
  report.query_heads = 32;
  report.kv_bytes = int64_t{4} << 30;
  report.block_tokens = 16;
  report.repeat = 10;
  report.contexts = {2048};
  report.results = {Result(32, 0.4, 0.44), Result(8, 0.2, 0.19), Result(1, 0.1, 0.1)};
  return report;
}

TEST(GroupsReportTest, TheTableShowsTheDial) {
  std::ostringstream out;
  PrintGroups(Report(), out);
  EXPECT_THAT(out.str(), HasSubstr(R"(
KV groups   KV a token  blocks  at 2048  prefill 512 tokens/s  16x2048 ms
  32 (MHA)     128 KiB    2048       16                 256.0      400.00
* 8             32 KiB    8192       64                 256.0      200.00
  1 (MQA)        4 KiB   65536      512                 256.0      100.00
)"));
  EXPECT_THAT(out.str(), HasSubstr("off from the fastest run by 5.0% at the median, 10.0% at p90"));
}

TEST(GroupsReportTest, WithoutPredictionsNothingIsSaidOfThem) {
  GroupsReport report = Report();
  for (GroupsResult& result : report.results) result.predicted_seconds.clear();
  std::ostringstream out;
  PrintGroups(report, out);
  EXPECT_THAT(out.str(), ::testing::Not(HasSubstr("off from")));
  EXPECT_FALSE(GroupsJson(report)["results"][0]["decode"][0].contains("seconds_predicted"));
}

TEST(GroupsReportTest, ALoadIsShownWhereThereWasOne) {
  GroupsReport report = Report();
  EXPECT_FALSE(GroupsJson(report)["results"][0].contains("load"));
  report.load = {.users = 32,
                 .requests = 64,
                 .prompt = 512,
                 .output = 20,
                 .max_step_tokens = 512,
                 .kv_bytes = report.kv_bytes};
  for (GroupsResult& result : report.results) {
    result.load.first_token.p50 = 0.5 * result.kv_groups;
    result.load.first_token.p90 = 2 * result.kv_groups;
    result.load.tokens_per_second = 99.5;
    result.load.most_running = 32 / result.kv_groups;
  }
  std::ostringstream out;
  PrintGroups(report, out);
  EXPECT_THAT(out.str(), HasSubstr("32 users who wait for their answers, 64 requests of 512 "));
  EXPECT_THAT(out.str(), HasSubstr("16x2048 ms  at once  first p50    p90  tokens/s\n"));
  EXPECT_THAT(out.str(), HasSubstr("    200.00        4       4.00  16.00      99.5\n"));
  const nlohmann::ordered_json json = GroupsJson(report);
  EXPECT_EQ(json["load"]["users"], 32);
  EXPECT_EQ(json["results"][2]["load"]["most_running"], 32);
  EXPECT_EQ(json["results"][2]["load"]["ttft_seconds_p90"], 2);
  const std::vector<Chart> charts = GroupsCharts(report);
  ASSERT_EQ(charts.size(), 3u);
  EXPECT_THAT(charts[2].title, HasSubstr("32 users and 4 GiB of KV"));
  EXPECT_THAT(charts[2].lines[0].values, ::testing::ElementsAre(16000, 4000, 500));
}

TEST(GroupsReportTest, JsonHasWhatTheTableShows) {
  const nlohmann::ordered_json json = GroupsJson(Report());
  EXPECT_EQ(json["results"][1]["kv_groups"], 8);
  EXPECT_EQ(json["results"][1]["own_groups"], true);
  EXPECT_EQ(json["results"][1]["prefill"]["tokens_per_second"], 256);
  EXPECT_EQ(json["results"][2]["decode"][0]["seconds_median"], 0.1);
  EXPECT_EQ(json["results"][0]["decode"][0]["seconds_predicted"], 0.44);
  EXPECT_NEAR(json["prediction_error"]["p90"].get<double>(), 0.1, 1e-9);
}

TEST(GroupsReportTest, TheChartsAreOfMemoryAndTime) {
  const std::vector<Chart> charts = GroupsCharts(Report());
  ASSERT_EQ(charts.size(), 2u);
  EXPECT_THAT(charts[0].lines[0].values, ::testing::ElementsAre(128, 32, 4));
  EXPECT_EQ(charts[1].lines[0].name, "16 sequences at 2048 tokens");
  EXPECT_THAT(charts[1].lines[0].values, ::testing::ElementsAre(400, 200, 100));
}

TEST(SvgChartTest, ValuesLieOnALogarithmicAxisAndTextIsEscaped) {
  std::ostringstream out;
  WriteSvg({{.title = "a < b & c",
             .unit = "ms",
             .places = {"4", "2", "1"},
             .lines = {{"first", {16, 4, 1}}, {"second", {8, 8, 8}}}}},
           out);
  EXPECT_THAT(out.str(), HasSubstr("a &lt; b &amp; c, ms"));
  // From the top of the plot to its bottom: 40 to 294.
  EXPECT_THAT(out.str(), HasSubstr("points=\"64.0,40.0 252.0,167.0 440.0,294.0 \""));
  EXPECT_THAT(out.str(), HasSubstr("points=\"64.0,103.5 252.0,103.5 440.0,103.5 \""));
  EXPECT_THAT(out.str(), HasSubstr(">16</text>"));
  EXPECT_EQ(out.str().find("nan"), std::string::npos);
}

}  // namespace
}  // namespace quire::cli
