#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/cli/bench_fleet_report.h"

namespace quire::cli {
namespace {

using RowValue = std::function<double(const FleetRow&)>;

RowValue Mean(double FleetNumbers::*value, double scale) {
  return [=](const FleetRow& row) { return SpreadOf(row, value).mean * scale; };
}

// What a logarithmic axis has no place for is left out.
void AddIfDrawable(Chart chart, std::vector<Chart>* charts) {
  for (const Chart::Line& line : chart.lines) {
    for (const double value : line.values) {
      if (value <= 0) return;
    }
  }
  if (chart.places.size() >= 2) charts->push_back(std::move(chart));
}

// A line for each policy, over the sizes of the fleet.
void AddBySize(const FleetReport& report, std::string title, std::string unit,
               const RowValue& value, std::vector<Chart>* charts) {
  Chart chart = {.title = std::move(title), .unit = std::move(unit), .places = {}, .lines = {}};
  for (const FleetRow& row : report.rows) {
    const std::string place = absl::StrCat(row.replicas);
    if (chart.places.empty() || chart.places.back() != place) chart.places.push_back(place);
    auto line = std::find_if(chart.lines.begin(), chart.lines.end(),
                             [&](const Chart::Line& known) { return known.name == row.policy; });
    if (line == chart.lines.end()) {
      line = chart.lines.insert(line, {.name = row.policy, .values = {}});
    }
    line->values.push_back(value(row));
  }
  AddIfDrawable(std::move(chart), charts);
}

// A line for each value, over the policies.
void AddByPolicy(const FleetReport& report, std::string title, std::string unit,
                 const std::vector<std::pair<std::string, RowValue>>& values,
                 std::vector<Chart>* charts) {
  Chart chart = {.title = std::move(title), .unit = std::move(unit), .places = {}, .lines = {}};
  for (const FleetRow& row : report.rows) chart.places.push_back(row.policy);
  for (const auto& [name, value] : values) {
    Chart::Line& line = chart.lines.emplace_back();
    line.name = name;
    for (const FleetRow& row : report.rows) line.values.push_back(value(row));
  }
  AddIfDrawable(std::move(chart), charts);
}

std::vector<Chart> ChartsBySize(const FleetReport& report) {
  std::vector<Chart> charts;
  AddBySize(report, "First token, median, by replicas", "ms", Mean(&FleetNumbers::ttft_p50, 1e3),
            &charts);
  AddBySize(report, "First token, p99, by replicas", "ms", Mean(&FleetNumbers::ttft_p99, 1e3),
            &charts);
  AddBySize(
      report, report.slo.any() ? "Goodput of a replica" : "Requests of a replica", "1/s",
      [](const FleetRow& row) {
        return SpreadOf(row, &FleetNumbers::goodput_per_second).mean / row.replicas;
      },
      &charts);
  AddBySize(report, "Prompt tokens found", "%", Mean(&FleetNumbers::hit_ratio, 100), &charts);
  return charts;
}

std::vector<Chart> ChartsByPolicy(const FleetReport& report) {
  std::vector<Chart> charts;
  const std::string size = absl::StrCat(report.rows.front().replicas, " replicas: ");
  AddByPolicy(report, absl::StrCat(size, "first token"), "ms",
              {{"median", Mean(&FleetNumbers::ttft_p50, 1e3)},
               {"90th percentile", Mean(&FleetNumbers::ttft_p90, 1e3)},
               {"99th percentile", Mean(&FleetNumbers::ttft_p99, 1e3)}},
              &charts);
  AddByPolicy(
      report, absl::StrCat(size, "rate"), "1/s",
      {{report.slo.any() ? "goodput" : "requests", Mean(&FleetNumbers::goodput_per_second, 1)}},
      &charts);
  AddByPolicy(report, absl::StrCat(size, "prompt tokens found"), "%",
              {{"hit ratio", Mean(&FleetNumbers::hit_ratio, 100)}}, &charts);
  AddByPolicy(report, absl::StrCat(size, "KV in use"), "%",
              {{"mean of replicas", Mean(&FleetNumbers::kv_mean, 100)},
               {"fullest replica", Mean(&FleetNumbers::kv_max, 100)}},
              &charts);
  if (report.load.tenants.size() > 1) {
    AddByPolicy(report, absl::StrCat(size, "least share of what was due"), "%",
                {{"share", Mean(&FleetNumbers::least_share, 100)}}, &charts);
  }
  return charts;
}

}  // namespace

std::vector<Chart> FleetCharts(const FleetReport& report) {
  const bool sizes = report.rows.front().replicas != report.rows.back().replicas;
  return sizes ? ChartsBySize(report) : ChartsByPolicy(report);
}

}  // namespace quire::cli
