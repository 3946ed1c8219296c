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

TEST(GroupsReportTest, TheQualityOfATrainedSetIsShownBesideItsCost) {
  GroupsReport report = Report();
  EXPECT_FALSE(GroupsJson(report)["results"][0].contains("quality"));
  report.quality = QualityTable{.query_heads = 32,
                                .uptrained_share = 0.1,
                                .seeds = 3,
                                .by_groups = {{32, {.scratch = AnswerQuality{0.99, 1.01}}},
                                              {8,
                                               {.regrouped = AnswerQuality{0.5, 4},
                                                .uptrained = AnswerQuality{0.98, 1.02},
                                                .scratch = AnswerQuality{0.985, 1.015}}},
                                              {1, {.regrouped = AnswerQuality{0.25, 8}}}}};
  std::ostringstream out;
  PrintGroups(report, out);
  EXPECT_THAT(out.str(), HasSubstr("16x2048 ms  regrouped  uptrained 10%  from scratch\n"));
  EXPECT_THAT(out.str(), HasSubstr("    200.00      50.0%          98.0%         98.5%\n"));
  EXPECT_THAT(out.str(), HasSubstr("    100.00      25.0%                             \n"));
  const nlohmann::ordered_json json = GroupsJson(report);
  EXPECT_EQ(json["results"][1]["quality"]["uptrained"]["exact"], 0.98);
  EXPECT_TRUE(json["results"][2]["quality"]["scratch"].is_null());
  const std::vector<Chart> charts = GroupsCharts(report);
  ASSERT_EQ(charts.size(), 3u);
  ASSERT_EQ(charts[2].lines.size(), 1u) << "the other ways lack a number of groups";
  EXPECT_EQ(charts[2].lines[0].name, "regrouped");
  EXPECT_THAT(charts[2].lines[0].values, ::testing::ElementsAre(1.01, 4, 8));
}

TEST(GroupQualityTest, TheLongestTrainingAndTheMeanAreTaken) {
  const auto table = ParseQuality(R"({"query_heads": 6, "results": [
    {"groups": 6, "origin": "scratch", "uptrained": 0, "seeds": 3,
     "exact_long": {"mean": 1}, "answer_perplexity": {"mean": 1.01}},
    {"groups": 1, "origin": "mean", "uptrained": 0.0, "seeds": 3,
     "exact_long": {"mean": 0.25}, "answer_perplexity": {"mean": 7}},
    {"groups": 1, "origin": "first", "uptrained": 0.0, "seeds": 1,
     "exact_long": {"mean": 0.1}, "answer_perplexity": {"mean": 9}},
    {"groups": 1, "origin": "mean", "uptrained": 0.1, "seeds": 2,
     "exact_long": {"mean": 0.98}, "answer_perplexity": {"mean": 1.02}},
    {"groups": 1, "origin": "mean", "uptrained": 0.05, "seeds": 2,
     "exact_long": {"mean": 0.9}, "answer_perplexity": {"mean": 1.2}}]})",
                                  "file");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->query_heads, 6);
  EXPECT_EQ(table->seeds, 2);
  EXPECT_EQ(table->uptrained_share, 0.1);
  EXPECT_EQ(table->by_groups.at(6).scratch->exact, 1);
  EXPECT_FALSE(table->by_groups.at(6).regrouped.has_value());
  EXPECT_EQ(table->by_groups.at(1).regrouped->exact, 0.25);
  EXPECT_EQ(table->by_groups.at(1).uptrained->perplexity, 1.02);
}

TEST(GroupQualityTest, AnErrorNamesTheField) {
  const auto message = [](const char* text) {
    return std::string(ParseQuality(text, "file").status().message());
  };
  EXPECT_THAT(message("[]"), HasSubstr("file: must be a JSON object"));
  EXPECT_THAT(message(R"({"query_heads": 0})"), HasSubstr("'query_heads'"));
  EXPECT_THAT(message(R"({"query_heads": 6, "results": []})"), HasSubstr("'results'"));
  EXPECT_THAT(message(R"({"query_heads": 6, "results": [1]})"), HasSubstr("'results'"));
  EXPECT_THAT(message(R"({"query_heads": 6, "results": [{"groups": 7}]})"),
              HasSubstr("file: results[0]: field 'groups'"));
  EXPECT_THAT(message(R"({"query_heads": 6, "results": [
    {"groups": 1, "origin": "mean", "uptrained": 0, "seeds": 1, "exact_long": {"mean": 2}}]})"),
              HasSubstr("file: results[0].exact_long: field 'mean'"));
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
