#include "server/cli/bench_report.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/check.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

double PerSecond(double amount, const BenchResult& result) {
  return amount / result.times.median_seconds;
}

std::string Percent(double part, double whole) {
  return absl::StrFormat("%.0f%%", 100 * part / whole);
}

std::string Giga(double value) { return absl::StrFormat("%.1f", value / 1e9); }

std::string PhaseName(const BenchResult& result) {
  return result.chunk > 0 ? absl::StrCat("prefill, steps of ", result.chunk) : "decode";
}

std::vector<std::string> Row(const BenchResult& result, const MachineSpeed& machine) {
  const double bytes = PerSecond(result.bytes, result);
  const double flops = PerSecond(result.flops, result);
  return {PhaseName(result),
          absl::StrCat(result.batch),
          absl::StrCat(result.context),
          absl::StrFormat("%.2f", result.times.median_seconds * 1e3),
          absl::StrFormat("%.2f", result.times.min_seconds * 1e3),
          absl::StrFormat("%.1f", PerSecond(static_cast<double>(result.tokens), result)),
          Giga(bytes),
          Percent(bytes, machine.read_bytes_per_second),
          Giga(flops),
          Percent(flops, machine.flops_per_second)};
}

// Where a run's time went. What lies between the operations is the rest.
void PrintOps(const BenchResult& result, const MachineSpeed& machine, std::ostream& out) {
  out << absl::StrFormat("\n%s, batch %d, context %d, by operation (mean of the runs)\n",
                         PhaseName(result), result.batch, result.context);
  TextTable table({"operation", "calls", "ms", "of all", "GB/s", "%", "GFLOP/s", "%"});
  double total = 0;
  for (const OpTime& op : result.ops) total += op.seconds;
  for (const OpTime& op : result.ops) {
    std::vector<std::string> row = {op.name, absl::StrCat(op.calls),
                                    absl::StrFormat("%.2f", op.seconds * 1e3),
                                    Percent(op.seconds, total)};
    if (op.flops > 0) {
      const double bytes = op.bytes / op.seconds;
      const double flops = op.flops / op.seconds;
      row.insert(row.end(), {Giga(bytes), Percent(bytes, machine.read_bytes_per_second),
                             Giga(flops), Percent(flops, machine.flops_per_second)});
    } else {
      row.insert(row.end(), {"", "", "", ""});
    }
    table.AddRow(std::move(row));
  }
  table.Print(out);
}

}  // namespace

OpTime OpTime::PerRun(int32_t runs) const {
  return {.name = name,
          .calls = calls / runs,
          .seconds = seconds / runs,
          .flops = flops / runs,
          .bytes = bytes / runs};
}

nlohmann::ordered_json OpJson(const OpTime& op) {
  return {{"operation", op.name},
          {"calls", op.calls},
          {"seconds", op.seconds},
          {"flops", op.flops},
          {"bytes", op.bytes}};
}

nlohmann::ordered_json MachineJson(const MachineSpeed& machine) {
  return {{"read_bytes_per_second", machine.read_bytes_per_second},
          {"flops_per_second", machine.flops_per_second},
          {"flops_with", machine.flops_with},
          {"load_average", machine.load_average}};
}

BenchTimes Summarize(std::vector<double> seconds) {
  QUIRE_CHECK(!seconds.empty());
  std::sort(seconds.begin(), seconds.end());
  const size_t middle = seconds.size() / 2;
  const double median =
      seconds.size() % 2 == 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  return {.median_seconds = median, .min_seconds = seconds.front()};
}

void PrintReport(const BenchReport& report, std::ostream& out) {
  out << absl::StrFormat("model    %s, weights %s, %s in %s\n", report.model, report.weights,
                         FormatBytes(report.weight_bytes), report.compute_dtype);
  out << absl::StrFormat("KV       blocks of %d tokens, %s\n", report.block_tokens,
                         FormatBytes(report.block_bytes));
  out << "device   " << report.device << '\n';
  const MachineSpeed& machine = report.machine;
  out << absl::StrFormat(
      "machine  reads %s GB/s; computes %s GFLOP/s (%s); %d threads; load average %.1f\n",
      Giga(machine.read_bytes_per_second), Giga(machine.flops_per_second), machine.flops_with,
      report.threads, machine.load_average);
  out << absl::StrFormat(
      "Median of %d runs, and rates of it. GB/s: of weights and KV; %%: of what the machine reads "
      "from\nmemory (above 100: they are in the caches) and computes in registers.\n\n",
      report.repeat);
  TextTable table(
      {"step", "batch", "context", "ms", "min ms", "tokens/s", "GB/s", "%", "GFLOP/s", "%"});
  for (const BenchResult& result : report.results) table.AddRow(Row(result, report.machine));
  table.Print(out);
  for (const BenchResult& result : report.results) {
    if (!result.ops.empty()) PrintOps(result, report.machine, out);
  }
}

nlohmann::ordered_json ReportJson(const BenchReport& report) {
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const BenchResult& result : report.results) {
    results.push_back({{"phase", result.chunk > 0 ? "prefill" : "decode"},
                       {"batch", result.batch},
                       {"context_tokens", result.context},
                       {"chunk_tokens", result.chunk},
                       {"seconds_median", result.times.median_seconds},
                       {"seconds_min", result.times.min_seconds},
                       {"tokens_per_second", PerSecond(static_cast<double>(result.tokens), result)},
                       {"bytes_per_second", PerSecond(result.bytes, result)},
                       {"flops_per_second", PerSecond(result.flops, result)}});
    for (const OpTime& op : result.ops) results.back()["operations"].push_back(OpJson(op));
  }
  return {{"model", report.model},
          {"weights", report.weights},
          {"device", report.device},
          {"compute_dtype", report.compute_dtype},
          {"threads", report.threads},
          {"block_tokens", report.block_tokens},
          {"block_bytes", report.block_bytes},
          {"weight_bytes", report.weight_bytes},
          {"repeat", report.repeat},
          {"machine", MachineJson(report.machine)},
          {"results", std::move(results)}};
}

absl::Status WriteJsonFile(const nlohmann::ordered_json& json, const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  std::ofstream file(name);
  // A server's message may be anything.
  file << json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  file.close();
  return file.good() ? absl::OkStatus()
                     : absl::UnavailableError(absl::StrCat("cannot write ", name));
}

}  // namespace quire::cli
