#include "server/cli/bench_serve_report.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

using Json = nlohmann::ordered_json;

// A client that sends later than this has a say in the latencies that it measures.
constexpr double kLateSeconds = 0.01;
constexpr double kBusyShare = 0.8;

struct Metric {
  const char* title;
  const char* json_name;
  const SampleSet* samples;
};

std::vector<Metric> MetricsOf(const LoadGroup& group) {
  return {{"first token", "ttft_seconds", &group.ttft},
          {"inter-token", "inter_token_seconds", &group.inter_token},
          {"per later token", "per_token_seconds", &group.per_token},
          {"end to end", "end_to_end_seconds", &group.end_to_end},
          {"rejection", "rejection_seconds", &group.rejection}};
}

std::vector<const LoadGroup*> GroupsOf(const LoadCollector& results) {
  std::vector<const LoadGroup*> groups;
  for (const LoadGroup& tenant : results.tenants()) groups.push_back(&tenant);
  if (groups.size() > 1) groups.push_back(&results.total());
  return groups;
}

double Rate(double amount, const ServeReport& report) {
  return report.summary.window_seconds > 0 ? amount / report.summary.window_seconds : 0;
}

std::string Milliseconds(double seconds) { return absl::StrFormat("%.2f", seconds * 1e3); }

std::string DescribeLoad(const TenantSpec& tenant) {
  std::string text = tenant.rate > 0
                         ? absl::StrFormat("open loop, %g requests/s", tenant.rate)
                         : absl::StrFormat("closed loop, %d streams", tenant.concurrency);
  if (tenant.rate > 0 && tenant.burstiness != 1) {
    absl::StrAppendFormat(&text, " (burstiness %g)", tenant.burstiness);
  }
  const auto length = [](const LengthLaw& law) {
    return law.sigma > 0 ? absl::StrFormat("%d (log-normal, sigma %g)", law.median, law.sigma)
                         : absl::StrCat(law.median);
  };
  absl::StrAppend(&text, ", prompt ", length(tenant.prompt), ", output ", length(tenant.output));
  if (tenant.prefix_tokens > 0) absl::StrAppend(&text, ", shared prefix ", tenant.prefix_tokens);
  return text;
}

void PrintCounts(const ServeReport& report, std::ostream& out) {
  std::vector<std::string> header = {"tenant",     "due",  "ok",          "rejected",    "failed",
                                     "unfinished", "ok/s", "in tokens/s", "out tokens/s"};
  if (report.slo.any()) header.insert(header.end(), {"goodput/s", "met SLO"});
  TextTable table(header);
  for (const LoadGroup* group : GroupsOf(*report.results)) {
    std::vector<std::string> row = {group->name};
    for (int64_t count :
         {group->sent, group->ok, group->rejected, group->failed, group->unfinished}) {
      row.push_back(absl::StrCat(count));
    }
    row.push_back(
        absl::StrFormat("%.2f", Rate(static_cast<double>(group->completed_in_window), report)));
    row.push_back(absl::StrFormat("%.1f", Rate(group->input_tokens, report)));
    row.push_back(absl::StrFormat("%.1f", Rate(group->output_tokens, report)));
    if (report.slo.any()) {
      row.push_back(
          absl::StrFormat("%.2f", Rate(static_cast<double>(group->good_in_window), report)));
      row.push_back(group->sent == 0
                        ? "-"
                        : absl::StrFormat("%.1f%%", 100.0 * static_cast<double>(group->met_slo) /
                                                        static_cast<double>(group->sent)));
    }
    table.AddRow(std::move(row));
  }
  table.Print(out);
}

void PrintLatencies(const ServeReport& report, std::ostream& out) {
  TextTable table({"tenant", "ms", "samples", "mean", "p50", "p90", "p99", "max"});
  for (const LoadGroup* group : GroupsOf(*report.results)) {
    for (const Metric& metric : MetricsOf(*group)) {
      const SampleSummary summary = metric.samples->Summarize();
      if (summary.count == 0) continue;
      table.AddRow({group->name, metric.title, absl::StrCat(summary.count),
                    Milliseconds(summary.mean), Milliseconds(summary.p50),
                    Milliseconds(summary.p90), Milliseconds(summary.p99),
                    Milliseconds(summary.max)});
    }
  }
  table.Print(out);
}

void PrintCodes(const LoadGroup& total, std::ostream& out) {
  if (total.by_code.size() == total.by_code.count("OK")) return;
  out << "\nhow requests ended:";
  for (const auto& [code, count] : total.by_code) out << "  " << code << ' ' << count;
  if (total.rejected > 0) {
    out << absl::StrFormat("\n%d of %d rejections said when to come back", total.retry_hints,
                           total.rejected);
  }
  out << '\n';
}

Json ToJson(const SampleSummary& summary) {
  return {{"count", summary.count}, {"kept", summary.kept}, {"mean", summary.mean},
          {"p50", summary.p50},     {"p90", summary.p90},   {"p99", summary.p99},
          {"max", summary.max}};
}

Json ToJson(const LoadGroup& group, const ServeReport& report) {
  Json json = {{"name", group.name},
               {"requests", group.sent},
               {"ok", group.ok},
               {"rejected", group.rejected},
               {"failed", group.failed},
               {"unfinished", group.unfinished},
               {"by_code", group.by_code},
               {"retry_hints", group.retry_hints},
               {"ok_per_second", Rate(static_cast<double>(group.completed_in_window), report)},
               {"input_tokens_per_second", Rate(group.input_tokens, report)},
               {"output_tokens_per_second", Rate(group.output_tokens, report)}};
  if (report.slo.any()) {
    json["met_slo"] = group.met_slo;
    json["goodput_per_second"] = Rate(static_cast<double>(group.good_in_window), report);
  }
  for (const Metric& metric : MetricsOf(group)) {
    json[metric.json_name] = ToJson(metric.samples->Summarize());
  }
  return json;
}

Json LoadJson(const TenantSpec& tenant) {
  const auto length = [](const LengthLaw& law) {
    return Json{{"median", law.median}, {"sigma", law.sigma}};
  };
  Json json = {{"prompt_tokens", length(tenant.prompt)},
               {"output_tokens", length(tenant.output)},
               {"shared_prefix_tokens", tenant.prefix_tokens}};
  if (tenant.rate > 0) {
    json["rate"] = tenant.rate;
    json["burstiness"] = tenant.burstiness;
  } else {
    json["concurrency"] = tenant.concurrency;
  }
  if (tenant.priority.has_value()) json["priority"] = *tenant.priority;
  return json;
}

Json SeriesJson(const std::vector<LoadSecond>& series) {
  Json json = Json::array();
  for (const LoadSecond& second : series) {
    json.push_back({{"due", second.due},
                    {"ok", second.ok},
                    {"rejected", second.rejected},
                    {"failed", second.failed},
                    {"output_tokens", second.output_tokens},
                    {"ttft_seconds_max", second.worst_ttft}});
  }
  return json;
}

const char* EndName(RunEnd end) {
  switch (end) {
    case RunEnd::kComplete:
      return "complete";
    case RunEnd::kGaveUp:
      return "gave up";
    case RunEnd::kInterrupted:
      return "interrupted";
  }
  return "";
}

bool IsClientSlow(const ServeReport& report) {
  return report.summary.held_back > 0 || report.results->lag().Summarize().p99 > kLateSeconds ||
         report.client_cores > kBusyShare * report.machine_cores;
}

bool IsSampled(const LoadCollector& results) {
  for (const LoadGroup* group : GroupsOf(results)) {
    for (const Metric& metric : MetricsOf(*group)) {
      if (metric.samples->IsPartial()) return true;
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> ServeWarnings(const ServeReport& report) {
  std::vector<std::string> warnings;
  const LoadGroup& total = report.results->total();
  const SampleSummary lag = report.results->lag().Summarize();
  if (report.summary.end == RunEnd::kGaveUp) {
    warnings.push_back("the run was given up: requests failed one after the other");
  }
  if (!report.results->last_failure().empty()) {
    warnings.push_back(absl::StrCat("the last failure: ", report.results->last_failure()));
  }
  if (lag.p99 > kLateSeconds) {
    warnings.push_back(absl::StrFormat(
        "requests were sent late (p99 %s ms): the client, or the machine that it runs on, was a "
        "bottleneck, and the latencies have that in them",
        Milliseconds(lag.p99)));
  }
  if (report.summary.held_back > 0) {
    warnings.push_back(
        absl::StrFormat("the client held %d requests back because --max-in-flight were under way",
                        report.summary.held_back));
  }
  if (report.client_cores > kBusyShare * report.machine_cores) {
    warnings.push_back(absl::StrFormat("the client was a bottleneck: it used %.1f of %d cores",
                                       report.client_cores, report.machine_cores));
  }
  if (total.unfinished > 0) {
    warnings.push_back(absl::StrFormat(
        "%d requests were under way at the end: \"end to end\" is without them", total.unfinished));
  }
  if (IsSampled(*report.results)) {
    warnings.push_back("some percentiles are of a random choice of samples: see --max-samples");
  }
  return warnings;
}

void PrintServeReport(const ServeReport& report, std::ostream& out) {
  out << absl::StrFormat("target   %s, %s API, model %s\n", report.target, report.api,
                         report.model);
  for (const TenantSpec& tenant : report.tenants) {
    out << absl::StrFormat("load     %s: %s\n", tenant.name, DescribeLoad(tenant));
  }
  const SampleSummary lag = report.results->lag().Summarize();
  out << absl::StrFormat("run      seed %d, measured %.1f s after %.1f s of warm-up%s\n",
                         report.seed, report.summary.window_seconds, report.warmup_seconds,
                         report.summary.end == RunEnd::kComplete
                             ? ""
                             : absl::StrCat(", ", EndName(report.summary.end)));
  out << absl::StrFormat(
      "client   sent late by p99 %s ms, at most %s ms; used %.2f of %d cores\n\n",
      Milliseconds(lag.p99), Milliseconds(lag.max), report.client_cores, report.machine_cores);
  PrintCounts(report, out);
  PrintCodes(report.results->total(), out);
  out << "\nLatencies count from when a request was due.\n";
  PrintLatencies(report, out);
  for (const std::string& warning : ServeWarnings(report)) out << "warning: " << warning << '\n';
}

nlohmann::ordered_json ServeReportJson(const ServeReport& report) {
  Json tenants = Json::array();
  for (size_t i = 0; i < report.tenants.size(); ++i) {
    tenants.push_back(ToJson(report.results->tenants()[i], report));
    tenants.back()["load"] = LoadJson(report.tenants[i]);
  }
  Json slo = Json::object();
  if (report.slo.ttft_seconds) slo["ttft_seconds"] = *report.slo.ttft_seconds;
  if (report.slo.itl_seconds) slo["per_token_seconds"] = *report.slo.itl_seconds;
  return {{"api", report.api},
          {"target", report.target},
          {"model", report.model},
          {"seed", report.seed},
          {"warmup_seconds", report.warmup_seconds},
          {"window_seconds", report.summary.window_seconds},
          {"end", EndName(report.summary.end)},
          {"slo", std::move(slo)},
          {"client",
           {{"lag_seconds", ToJson(report.results->lag().Summarize())},
            {"held_back", report.summary.held_back},
            {"cores_used", report.client_cores},
            {"cores", report.machine_cores},
            {"was_bottleneck", IsClientSlow(report)}}},
          {"warnings", ServeWarnings(report)},
          {"total", ToJson(report.results->total(), report)},
          {"tenants", std::move(tenants)},
          {"series", SeriesJson(report.results->series())}};
}

}  // namespace quire::cli
