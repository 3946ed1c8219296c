#include "server/cli/bench_groups_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string StepName(const BenchResult& step) {
  return absl::StrCat(step.batch, "x", step.context);
}

double PrefillRate(const GroupsResult& result) {
  return static_cast<double>(result.prefill.tokens) / result.prefill.times.median_seconds;
}

double RelativeError(const GroupsResult& result, size_t step) {
  const double measured = result.decode[step].times.min_seconds;
  return (result.predicted_seconds[step] - measured) / measured;
}

Chart LoadChart(const GroupsReport& report, std::vector<std::string> places) {
  Chart chart = {
      .title = absl::StrCat(report.model, ": first token, ", report.load.users, " users and ",
                            FormatBytes(report.kv_bytes), " of KV"),
      .unit = "ms",
      .places = std::move(places),
      .lines = {{.name = "median", .values = {}}, {.name = "90th percentile", .values = {}}}};
  for (const GroupsResult& result : report.results) {
    chart.lines[0].values.push_back(result.load.first_token.p50 * 1e3);
    chart.lines[1].values.push_back(result.load.first_token.p90 * 1e3);
  }
  return chart;
}

const GroupQuality& QualityOf(const QualityTable& quality, const GroupsResult& result) {
  static const GroupQuality* const unknown = new GroupQuality;
  const auto it = quality.by_groups.find(result.kv_groups);
  return it == quality.by_groups.end() ? *unknown : it->second;
}

std::string Percent(const std::optional<AnswerQuality>& answers) {
  return answers.has_value() ? absl::StrFormat("%.1f%%", 100 * answers->exact) : "";
}

std::string UptrainedName(const QualityTable& quality) {
  return absl::StrFormat("uptrained %.0f%%", 100 * quality.uptrained_share);
}

Json AnswersJson(const std::optional<AnswerQuality>& answers) {
  if (!answers.has_value()) return nullptr;
  return {{"exact", answers->exact}, {"perplexity", answers->perplexity}};
}

// A line for each way to a model, where every number of groups was tried.
std::optional<Chart> QualityChart(const GroupsReport& report, std::vector<std::string> places) {
  Chart chart = {.title = "trained set: perplexity of answers by KV groups",
                 .unit = "1",
                 .places = std::move(places),
                 .lines = {}};
  const auto add = [&](std::string name, std::optional<AnswerQuality> GroupQuality::*way) {
    Chart::Line line = {.name = std::move(name), .values = {}};
    for (const GroupsResult& result : report.results) {
      const GroupQuality& quality = QualityOf(*report.quality, result);
      // What has all its groups is not changed by regrouping.
      const bool whole = result.kv_groups == report.query_heads && !(quality.*way).has_value();
      const std::optional<AnswerQuality>& answers = whole ? quality.scratch : quality.*way;
      if (!answers.has_value()) return;
      line.values.push_back(answers->perplexity);
    }
    chart.lines.push_back(std::move(line));
  };
  add("regrouped", &GroupQuality::regrouped);
  add(UptrainedName(*report.quality), &GroupQuality::uptrained);
  add("from scratch", &GroupQuality::scratch);
  if (chart.lines.empty()) return std::nullopt;
  return chart;
}

// What was measured, above the table.
void PrintSetting(const GroupsReport& report, std::ostream& out) {
  const MachineSpeed& machine = report.machine;
  out << absl::StrFormat("model    %s, random weights, %s\n", report.model, report.compute_dtype)
      << "device   " << report.device << '\n';
  if (machine.read_bytes_per_second > 0) {
    out << absl::StrFormat("machine  reads %.1f GB/s; load average %.1f\n",
                           machine.read_bytes_per_second / 1e9, machine.load_average);
  }
  out << absl::StrFormat("KV       %s in blocks of %d tokens\n", FormatBytes(report.kv_bytes),
                         report.block_tokens)
      << absl::StrFormat(
             "Sequences at once by context, and medians of %d runs: a prompt, and decode steps of "
             "so many\nsequences by so many tokens of context.\n",
             report.repeat);
  const LoadOptions& load = report.load;
  if (load.users > 0) {
    out << absl::StrFormat(
        "Then %d users who wait for their answers, %d requests of %d tokens and %d to answer, from "
        "that KV:\nhow many run at once, seconds to the first token, tokens generated a second.\n",
        load.users, load.requests, load.prompt, load.output);
  }
  if (report.quality.has_value()) {
    out << absl::StrFormat(
        "Exact answers of the trained set, means of at least %d: regrouped without training, "
        "trained for %.0f%% of\nwhat they were before, trained so from the start.\n",
        report.quality->seeds, 100 * report.quality->uptrained_share);
  }
  out << '\n';
}

}  // namespace

PredictionError ErrorOf(const GroupsReport& report) {
  std::vector<double> errors;
  for (const GroupsResult& result : report.results) {
    for (size_t s = 0; s < result.predicted_seconds.size(); ++s) {
      errors.push_back(std::abs(RelativeError(result, s)));
    }
  }
  if (errors.empty()) return {};
  std::sort(errors.begin(), errors.end());
  const size_t p90 = (errors.size() * 9 + 9) / 10 - 1;
  return {.median = Summarize(errors).median_seconds, .p90 = errors[p90]};
}

void PrintGroups(const GroupsReport& report, std::ostream& out) {
  PrintSetting(report, out);
  const LoadOptions& load = report.load;
  const GroupsResult& first = report.results.front();
  std::vector<std::string> header = {"KV groups", "KV a token", "blocks"};
  for (const int32_t context : report.contexts) header.push_back(absl::StrCat("at ", context));
  header.push_back(absl::StrCat("prefill ", first.prefill.context, " tokens/s"));
  for (const BenchResult& step : first.decode) header.push_back(StepName(step) + " ms");
  if (load.users > 0) header.insert(header.end(), {"at once", "first p50", "p90", "tokens/s"});
  if (report.quality.has_value()) {
    header.insert(header.end(), {"regrouped", UptrainedName(*report.quality), "from scratch"});
  }
  TextTable table(std::move(header));
  for (const GroupsResult& result : report.results) {
    std::vector<std::string> cells = {
        absl::StrCat(result.own ? "* " : "  ", GroupsName({result.kv_groups}, report.query_heads)),
        FormatBytes(result.token_bytes), absl::StrCat(result.blocks)};
    for (const int64_t sequences : result.sequences) cells.push_back(absl::StrCat(sequences));
    cells.push_back(absl::StrFormat("%.1f", PrefillRate(result)));
    for (const BenchResult& step : result.decode) {
      cells.push_back(absl::StrFormat("%.2f", step.times.median_seconds * 1e3));
    }
    if (load.users > 0) {
      cells.push_back(absl::StrCat(result.load.most_running));
      for (const double value : {result.load.first_token.p50, result.load.first_token.p90}) {
        cells.push_back(absl::StrFormat("%.2f", value));
      }
      cells.push_back(absl::StrFormat("%.1f", result.load.tokens_per_second));
    }
    if (report.quality.has_value()) {
      const GroupQuality& quality = QualityOf(*report.quality, result);
      for (const auto& answers : {quality.regrouped, quality.uptrained, quality.scratch}) {
        cells.push_back(Percent(answers));
      }
    }
    table.AddRow(std::move(cells));
  }
  table.Print(out);
  out << "*: the groups that the shape has\n";
  if (first.predicted_seconds.empty()) return;
  const PredictionError error = ErrorOf(report);
  out << absl::StrFormat(
      "Predicted before, by quire plan: off from the fastest run by %.1f%% at the median, "
      "%.1f%% at p90\n",
      100 * error.median, 100 * error.p90);
}

Json GroupsJson(const GroupsReport& report) {
  Json results = Json::array();
  for (const GroupsResult& result : report.results) {
    Json decode = Json::array();
    for (size_t s = 0; s < result.decode.size(); ++s) {
      const BenchResult& step = result.decode[s];
      decode.push_back({{"batch", step.batch},
                        {"context_tokens", step.context},
                        {"seconds_median", step.times.median_seconds},
                        {"seconds_min", step.times.min_seconds}});
      if (!result.predicted_seconds.empty()) {
        decode.back()["seconds_predicted"] = result.predicted_seconds[s];
      }
    }
    Json capacity = Json::array();
    for (size_t c = 0; c < report.contexts.size(); ++c) {
      capacity.push_back(
          {{"context_tokens", report.contexts[c]}, {"sequences", result.sequences[c]}});
    }
    results.push_back(
        {{"kv_groups", result.kv_groups},
         {"own_groups", result.own},
         {"token_bytes", result.token_bytes},
         {"blocks", result.blocks},
         {"capacity", std::move(capacity)},
         {"prefill",
          {{"prompt_tokens", result.prefill.context}, {"tokens_per_second", PrefillRate(result)}}},
         {"decode", std::move(decode)}});
    if (report.load.users > 0) {
      results.back()["load"] = {{"most_running", result.load.most_running},
                                {"ttft_seconds_p50", result.load.first_token.p50},
                                {"ttft_seconds_p90", result.load.first_token.p90},
                                {"ttft_seconds_max", result.load.first_token.max},
                                {"generated_tokens_per_second", result.load.tokens_per_second}};
    }
    if (report.quality.has_value()) {
      const GroupQuality& quality = QualityOf(*report.quality, result);
      results.back()["quality"] = {{"regrouped", AnswersJson(quality.regrouped)},
                                   {"uptrained", AnswersJson(quality.uptrained)},
                                   {"scratch", AnswersJson(quality.scratch)}};
    }
  }
  const PredictionError error = ErrorOf(report);
  return {{"model", report.model},
          {"device", report.device},
          {"compute_dtype", report.compute_dtype},
          {"query_heads", report.query_heads},
          {"kv_bytes", report.kv_bytes},
          {"block_tokens", report.block_tokens},
          {"repeat", report.repeat},
          {"load",
           {{"users", report.load.users},
            {"requests", report.load.requests},
            {"prompt_tokens", report.load.prompt},
            {"output_tokens", report.load.output},
            {"max_step_tokens", report.load.max_step_tokens}}},
          {"machine_read_bytes_per_second", report.machine.read_bytes_per_second},
          {"prediction_error", {{"median", error.median}, {"p90", error.p90}}},
          {"results", std::move(results)}};
}

std::vector<Chart> GroupsCharts(const GroupsReport& report) {
  std::vector<std::string> places;
  Chart::Line bytes = {.name = "K and V of a token, in all layers", .values = {}};
  for (const GroupsResult& result : report.results) {
    places.push_back(absl::StrCat(result.kv_groups));
    bytes.values.push_back(static_cast<double>(result.token_bytes) / 1024);
  }
  Chart time = {.title = report.model + ": decode step by KV groups",
                .unit = "ms",
                .places = places,
                .lines = {}};
  for (size_t s = 0; s < report.results.front().decode.size(); ++s) {
    const BenchResult& step = report.results.front().decode[s];
    Chart::Line& line = time.lines.emplace_back();
    line.name = absl::StrCat(step.batch, step.batch == 1 ? " sequence" : " sequences", " at ",
                             step.context, " tokens");
    for (const GroupsResult& result : report.results) {
      line.values.push_back(result.decode[s].times.median_seconds * 1e3);
    }
  }
  std::vector<Chart> charts = {{.title = report.model + ": KV a token by KV groups",
                                .unit = "KiB",
                                .places = places,
                                .lines = {std::move(bytes)}},
                               std::move(time)};
  if (report.load.users > 0) charts.push_back(LoadChart(report, places));
  if (report.quality.has_value()) {
    auto chart = QualityChart(report, std::move(places));
    if (chart.has_value()) charts.push_back(*std::move(chart));
  }
  return charts;
}

}  // namespace quire::cli
