#include "server/cli/bench_fleet_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

using Json = nlohmann::ordered_json;

struct FleetMetric {
  const char* title;  // empty: in JSON alone
  const char* json_name;
  double FleetNumbers::*value;
  double scale = 1;  // from what it is to what the table shows
  int digits = 0;
  bool goodput = false;  // for a load with a service level alone
  bool tenants = false;  // for several tenants alone
};
constexpr FleetMetric kMetrics[] = {
    {"first p50 ms", "ttft_seconds_p50", &FleetNumbers::ttft_p50, 1e3, 1},
    {"p90", "ttft_seconds_p90", &FleetNumbers::ttft_p90, 1e3, 1},
    {"p99", "ttft_seconds_p99", &FleetNumbers::ttft_p99, 1e3, 1},
    {"a token ms", "per_token_seconds_p50", &FleetNumbers::per_token_p50, 1e3, 2},
    {"", "per_token_seconds_mean", &FleetNumbers::per_token_mean},
    {"p99", "per_token_seconds_p99", &FleetNumbers::per_token_p99, 1e3, 2},
    {"ok/s", "ok_per_second", &FleetNumbers::requests_per_second, 1, 2},
    {"goodput/s", "goodput_per_second", &FleetNumbers::goodput_per_second, 1, 2, true},
    {"tokens/s", "output_tokens_per_second", &FleetNumbers::tokens_per_second},
    {"step ms", "step_seconds_mean", &FleetNumbers::step_seconds, 1e3, 2},
    {"busy %", "busy", &FleetNumbers::busy, 100, 0},
    {"hits %", "prefix_hit_ratio", &FleetNumbers::hit_ratio, 100, 1},
    {"KV %", "kv_use_mean", &FleetNumbers::kv_mean, 100, 1},
    {"max", "kv_use_max", &FleetNumbers::kv_max, 100, 1},
    {"rejected", "rejected", &FleetNumbers::rejected},
    {"preempted", "preempted", &FleetNumbers::preempted},
    {"failed", "failed", &FleetNumbers::failed},
    {"unfinished", "unfinished", &FleetNumbers::unfinished},
    {"least sent", "least_requests", &FleetNumbers::least_requests, 1, 2},
    {"most", "most_requests", &FleetNumbers::most_requests, 1, 2},
    {"fair", "least_share_of_due", &FleetNumbers::least_share, 1, 3, false, true},
    {"contended", "contended", &FleetNumbers::contended, 100, 0, false, true},
};
// Not in the table unless there are some.
bool IsRare(const FleetMetric& metric) {
  return metric.value == &FleetNumbers::failed || metric.value == &FleetNumbers::unfinished ||
         metric.value == &FleetNumbers::preempted;
}

std::string Cell(const FleetSpread& spread, double scale, int digits, bool deviation) {
  std::string mean = absl::StrFormat("%.*f", digits, spread.mean * scale);
  if (!deviation) return mean;
  return absl::StrCat(mean, absl::StrFormat(" +-%.*f", digits, spread.deviation * scale));
}

bool IsShown(const FleetMetric& metric, const FleetReport& report) {
  if (metric.title[0] == '\0') return false;
  if (metric.goodput && !report.slo.any()) return false;
  if (metric.tenants && report.load.tenants.size() < 2) return false;
  return !IsRare(metric) ||
         std::any_of(report.rows.begin(), report.rows.end(),
                     [&](const FleetRow& row) { return SpreadOf(row, metric.value).mean > 0; });
}

std::string DescribeLength(const LengthLaw& law) {
  return law.sigma > 0 ? absl::StrFormat("%d (sigma %g)", law.median, law.sigma)
                       : absl::StrCat(law.median);
}

std::string DescribeTenant(const TenantSpec& tenant) {
  std::string text = tenant.rate > 0 ? absl::StrFormat("%g requests/s", tenant.rate)
                                     : absl::StrFormat("%d streams", tenant.concurrency);
  if (tenant.rate > 0 && tenant.burstiness != 1) {
    absl::StrAppendFormat(&text, " (burstiness %g)", tenant.burstiness);
  }
  absl::StrAppend(&text, ", prompt ", DescribeLength(tenant.prompt), ", output ",
                  DescribeLength(tenant.output));
  if (tenant.prefix_tokens > 0) absl::StrAppend(&text, ", shared prefix ", tenant.prefix_tokens);
  if (tenant.weight.has_value()) absl::StrAppendFormat(&text, ", weight %g", *tenant.weight);
  return text;
}

void PrintFleetSetting(const FleetReport& report, std::ostream& out) {
  out << absl::StrFormat("model    %s, steps as on %s\n", report.model, report.times_from);
  const StepTimeModel& times = report.times;
  out << absl::StrFormat(
      "a step   %.1f us, and the larger of %.1f us and %.3f us a prompt's token + %.3f us a decode "
      "row;\n         looking at a token of KV %.3f ns from a decode row, %.3f ns from a prompt; "
      "beyond %.0f, decode rows %.3f ns more\n",
      times.step * 1e6, times.weights * 1e6, times.token * 1e6, times.decode_row * 1e6,
      times.decode_kv_token * 1e9, times.prompt_kv_token * 1e9, times.cached_kv_tokens,
      times.far_kv_token * 1e9);
  if (report.measured.steps > 0) {
    out << absl::StrFormat(
        "fit      %d steps, %d times each: off by %.1f%% at the median, %.1f%% at p90, %.1f%% at "
        "most\n",
        report.measured.steps, report.measured.rounds, 100 * report.measured.error.median,
        100 * report.measured.error.p90, 100 * report.measured.error.max);
  }
  out << absl::StrFormat(
      "replica  %d tokens a step, %d running, %s of KV; %.0f us a step besides, %.0f us to the "
      "client and back\n",
      report.engine.max_step_tokens, report.engine.max_running_requests,
      FormatBytes(report.kv_bytes), report.overhead_seconds * 1e6, report.round_trip_seconds * 1e6);
  for (const TenantSpec& tenant : report.load.tenants) {
    out << absl::StrFormat("load     %s, %s: %s\n", tenant.name,
                           report.whole_fleet ? "all together" : "for each replica",
                           DescribeTenant(tenant));
  }
  out << absl::StrFormat(
      "run      measured %g s after %g s of warm-up, seeds from %d; %s\n\n",
      ToSeconds(report.load.duration), ToSeconds(report.load.warmup), report.load.seed,
      report.view_seconds > 0
          ? absl::StrFormat("the router sees a replica's load every %g s", report.view_seconds)
          : "the router knows each replica's load");
}

void PrintFleetTenants(const FleetReport& report, std::ostream& out) {
  TextTable table({"replicas", "policy", "tenant", "first p50 ms", "p99", "ok/s", "due %", "got %",
                   "least", "most"});
  for (const FleetRow& row : report.rows) {
    for (size_t t = 0; t < report.load.tenants.size(); ++t) {
      const auto mean = [&](auto value) {
        std::vector<double> values;
        for (const FleetNumbers& seed : row.seeds) values.push_back(value(seed.tenants[t]));
        return SpreadOf(values).mean;
      };
      const auto share = [&](double TenantFairness::*value) {
        const double percent = 100 * mean([&](const FleetTenant& n) { return n.fairness.*value; });
        return percent > 0 ? absl::StrFormat("%.1f", percent) : "-";
      };
      const auto ms = [&](double FleetTenant::*value) {
        return absl::StrFormat("%.1f", 1e3 * mean([&](const FleetTenant& n) { return n.*value; }));
      };
      table.AddRow({absl::StrCat(row.replicas), row.policy, report.load.tenants[t].name,
                    ms(&FleetTenant::ttft_p50), ms(&FleetTenant::ttft_p99),
                    absl::StrFormat(
                        "%.2f", mean([](const FleetTenant& n) { return n.requests_per_second; })),
                    share(&TenantFairness::due), share(&TenantFairness::share),
                    share(&TenantFairness::least_share), share(&TenantFairness::most_share)});
    }
  }
  out << '\n';
  table.Print(out);
}

Json TenantJson(const FleetTenant& tenant, bool goodput) {
  Json json = {{"name", tenant.name},
               {"ttft_seconds_p50", tenant.ttft_p50},
               {"ttft_seconds_p99", tenant.ttft_p99},
               {"ok_per_second", tenant.requests_per_second}};
  if (goodput) json["goodput_per_second"] = tenant.goodput_per_second;
  json["due_share"] = tenant.fairness.due;
  json["share"] = tenant.fairness.share;
  json["least_share"] = tenant.fairness.least_share;
  json["most_share"] = tenant.fairness.most_share;
  return json;
}

Json RowJson(const FleetRow& row, const FleetReport& report) {
  Json seeds = Json::array();
  Json deviations = Json::object();
  Json means = Json::object();
  for (const FleetMetric& metric : kMetrics) {
    if (metric.goodput && !report.slo.any()) continue;
    const FleetSpread spread = SpreadOf(row, metric.value);
    means[metric.json_name] = spread.mean;
    deviations[metric.json_name] = spread.deviation;
  }
  for (size_t s = 0; s < row.seeds.size(); ++s) {
    Json seed = {{"seed", report.load.seed + s}};
    for (const FleetMetric& metric : kMetrics) {
      if (metric.goodput && !report.slo.any()) continue;
      seed[metric.json_name] = row.seeds[s].*metric.value;
    }
    for (const FleetTenant& tenant : row.seeds[s].tenants) {
      seed["tenants"].push_back(TenantJson(tenant, report.slo.any()));
    }
    seeds.push_back(std::move(seed));
  }
  return {{"replicas", row.replicas},
          {"policy", row.policy},
          {"mean", std::move(means)},
          {"deviation", std::move(deviations)},
          {"seeds", std::move(seeds)}};
}

}  // namespace

void PrintFleet(const FleetReport& report, std::ostream& out) {
  PrintFleetSetting(report, out);
  std::vector<std::string> header = {"replicas", "policy"};
  for (const FleetMetric& metric : kMetrics) {
    if (IsShown(metric, report)) header.emplace_back(metric.title);
  }
  TextTable table(std::move(header));
  for (const FleetRow& row : report.rows) {
    std::vector<std::string> cells = {absl::StrCat(row.replicas), row.policy};
    for (const FleetMetric& metric : kMetrics) {
      if (!IsShown(metric, report)) continue;
      cells.push_back(
          Cell(SpreadOf(row, metric.value), metric.scale, metric.digits, row.seeds.size() > 1));
    }
    table.AddRow(std::move(cells));
  }
  table.Print(out);
  if (report.load.tenants.size() > 1) PrintFleetTenants(report, out);
  out << absl::StrFormat("\n%.1f M steps with %.1f M tokens simulated in %.1f s\n",
                         static_cast<double>(report.steps) / 1e6, report.tokens / 1e6,
                         report.wall_seconds);
}

Json StepTimesFile(const FleetReport& report) {
  Json json = {{"model", report.model}, {"device", report.times_from}};
  if (report.measured.steps > 0) {
    json["fit"] = {{"steps", report.measured.steps},
                   {"rounds", report.measured.rounds},
                   {"error_median", report.measured.error.median},
                   {"error_p90", report.measured.error.p90},
                   {"error_max", report.measured.error.max}};
    for (const StepSample& sample : report.measured.samples) {
      json["samples"].push_back({{"prompt_tokens", sample.work.prompt_tokens},
                                 {"decode_rows", sample.work.decode_rows},
                                 {"decode_kv", sample.work.decode_kv},
                                 {"prompt_kv", sample.work.prompt_kv},
                                 {"seconds", sample.seconds},
                                 {"predicted", report.times.Seconds(sample.work)}});
    }
  }
  json["seconds"] = StepTimesJson(report.times);
  return json;
}

Json FleetJson(const FleetReport& report) {
  Json rows = Json::array();
  for (const FleetRow& row : report.rows) rows.push_back(RowJson(row, report));
  Json loads = Json::array();
  for (const TenantSpec& tenant : report.load.tenants) {
    loads.push_back({{"name", tenant.name},
                     {"weight", tenant.weight.value_or(1)},
                     {"load", DescribeTenant(tenant)}});
  }
  return {{"model", report.model},
          {"step_times", StepTimesFile(report)},
          {"max_step_tokens", report.engine.max_step_tokens},
          {"max_running", report.engine.max_running_requests},
          {"kv_bytes", report.kv_bytes},
          {"view_seconds", report.view_seconds},
          {"overhead_seconds", report.overhead_seconds},
          {"round_trip_seconds", report.round_trip_seconds},
          {"loads", std::move(loads)},
          {"whole_fleet", report.whole_fleet},
          {"seed", report.load.seed},
          {"results", std::move(rows)}};
}

}  // namespace quire::cli
