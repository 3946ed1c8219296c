#include "server/cli/bench_fleet_numbers.h"

#include <algorithm>
#include <cmath>

namespace quire::cli {

FleetSpread SpreadOf(const std::vector<double>& values) {
  FleetSpread spread;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) spread.mean += value / count;
  if (values.size() < 2) return spread;
  double squares = 0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.deviation = std::sqrt(squares / (count - 1));
  return spread;
}

FleetSpread SpreadOf(const FleetRow& row, double FleetNumbers::*value) {
  std::vector<double> values;
  for (const FleetNumbers& seed : row.seeds) values.push_back(seed.*value);
  return SpreadOf(values);
}

FleetNumbers NumbersOf(const FleetResult& result, const LoadPlan& load) {
  const LoadGroup& total = result.load.total();
  const auto rate = [&](double amount) {
    return result.window_seconds > 0 ? amount / result.window_seconds : 0;
  };
  const SampleSummary first = total.ttft.Summarize(), later = total.per_token.Summarize();
  FleetNumbers numbers;
  numbers.ttft_p50 = first.p50;
  numbers.ttft_p90 = first.p90;
  numbers.ttft_p99 = first.p99;
  numbers.per_token_p50 = later.p50;
  numbers.per_token_mean = later.mean;
  numbers.per_token_p99 = later.p99;
  numbers.requests_per_second = rate(static_cast<double>(total.completed_in_window));
  numbers.goodput_per_second = rate(static_cast<double>(total.good_in_window));
  numbers.tokens_per_second = rate(total.output_tokens);
  numbers.step_seconds = result.step_seconds;
  numbers.busy = result.busy;
  numbers.hit_ratio = result.hit_ratio;
  numbers.kv_mean = result.kv_mean;
  numbers.kv_max = result.kv_max;
  numbers.rejected = static_cast<double>(total.rejected);
  numbers.failed = static_cast<double>(total.failed);
  numbers.unfinished = static_cast<double>(total.unfinished);
  numbers.preempted = static_cast<double>(result.preempted);
  numbers.least_requests = result.least_requests;
  numbers.most_requests = result.most_requests;
  numbers.contended = rate(result.contended_seconds);
  for (size_t t = 0; t < load.tenants.size(); ++t) {
    const LoadGroup& group = result.load.tenants()[t];
    FleetTenant& tenant = numbers.tenants.emplace_back();
    const SampleSummary ttft = group.ttft.Summarize();
    tenant.name = group.name;
    tenant.ttft_p50 = ttft.p50;
    tenant.ttft_p99 = ttft.p99;
    tenant.requests_per_second = rate(static_cast<double>(group.completed_in_window));
    tenant.goodput_per_second = rate(static_cast<double>(group.good_in_window));
    if (result.fairness.empty()) continue;
    tenant.fairness = result.fairness[t];
    const double of_due = tenant.fairness.share / tenant.fairness.due;
    numbers.least_share = t == 0 ? of_due : std::min(numbers.least_share, of_due);
  }
  return numbers;
}

}  // namespace quire::cli
