#include "server/cli/bench_fleet_command.h"

#include <unistd.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "kernels/api/device_factory.h"
#include "server/cli/bench_fleet_options.h"
#include "server/cli/bench_fleet_report.h"
#include "server/cli/bench_report.h"

namespace quire::cli {
namespace {

constexpr char kName[] = "quire-bench fleet";

// Where standard error is a terminal: what runs, and how much of it is done.
class ProgressLine {
 public:
  void Show(const std::string& run, double done) const {
    if (!terminal_) return;
    std::cerr << absl::StrFormat("\r%s: %3.0f%% \033[K", run, 100 * done) << std::flush;
  }
  void Clear() const {
    if (terminal_) std::cerr << "\r\033[K" << std::flush;
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
};

absl::StatusOr<StepTimeModel> ReadStepTimesFile(const std::string& name) {
  constexpr size_t kMostBytes = 1 << 20;
  QUIRE_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(name, kMostBytes));
  const auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object() || !json.contains("seconds")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--step-times ", name, ": no JSON object with \"seconds\""));
  }
  absl::StatusOr<StepTimeModel> times = ReadStepTimes(json["seconds"]);
  if (times.ok()) return times;
  return absl::InvalidArgumentError(
      absl::StrCat("--step-times ", name, ": ", times.status().message()));
}

absl::Status FindStepTimes(const FleetFlags& flags, const ModelConfig& config,
                           const FleetOptions& fleet, FleetReport* report) {
  if (!flags.step_times_file.empty()) {
    QUIRE_ASSIGN_OR_RETURN(report->times, ReadStepTimesFile(flags.step_times_file));
    report->times_from = flags.step_times_file;
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(report->measured, MeasureStepTimes(MakeFitOptions(flags, fleet), config));
  report->times = report->measured.times;
  report->times_from =
      absl::StrCat(report->measured.device, ", in ", report->measured.compute_dtype);
  return WriteJsonFile(StepTimesFile(*report), flags.write_step_times_file);
}

// End tokens are left out, as the client of a server does that tells them.
PromptSource MakePrompts(const FleetFlags& flags, const ModelConfig& config, uint64_t seed) {
  const std::vector<uint32_t> excluded(config.eos_token_ids.begin(), config.eos_token_ids.end());
  return PromptSource(seed, static_cast<uint32_t>(config.vocab_size), excluded,
                      flags.prefix_per_tenant);
}

absl::StatusOr<FleetRow> RunPolicy(const FleetFlags& flags, const ModelConfig& config,
                                   int32_t replicas, const std::string& policy,
                                   FleetReport* report) {
  const ProgressLine line;
  FleetRow row = {.replicas = replicas, .policy = policy, .seeds = {}};
  for (int32_t s = 0; s < flags.seeds; ++s) {
    const uint64_t seed = flags.seed + static_cast<uint64_t>(s);
    QUIRE_ASSIGN_OR_RETURN(const FleetOptions options,
                           MakeFleet(flags, config, report->times, replicas, seed));
    QUIRE_ASSIGN_OR_RETURN(const auto router, MakeRouter(policy, flags.router));
    const PromptSource prompts = MakePrompts(flags, config, seed);
    const std::string run = absl::StrCat(replicas, " replicas, ", policy, ", seed ", seed);
    const FleetResult result =
        Fleet(options, &prompts, router.get()).Run([&](double done) { line.Show(run, done); });
    line.Clear();
    row.seeds.push_back(NumbersOf(result, options.load));
    report->steps += result.steps;
    report->tokens += result.load.total().output_tokens;
  }
  return row;
}

absl::Status WriteFleetSvg(const FleetReport& report, const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  std::ofstream file(name);
  WriteSvg(FleetCharts(report), file);
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write '", name, "'"));
}

void DescribeFleet(const FleetFlags& flags, const FleetOptions& one, FleetReport* report) {
  report->load = one.load;
  report->whole_fleet = flags.whole_fleet;
  report->engine = one.replica.engine;
  report->kv_bytes = one.replica.kv_bytes;
  report->view_seconds = flags.view_seconds;
  report->overhead_seconds = flags.overhead_us / 1e6;
  report->round_trip_seconds = flags.round_trip_us / 1e6;
  report->slo = one.slo;
}

absl::Status RunFleet(FleetFlags flags) {
  if (flags.model.threads == 0) flags.model.threads = kernels::UsableCores();
  const std::set<int32_t> sizes(flags.replicas.begin(), flags.replicas.end());
  const std::vector<std::string> policies = PoliciesOf(flags);
  if (!flags.svg_file.empty() && sizes.size() * policies.size() < 2) {
    return absl::InvalidArgumentError("--svg: compare at least two policies or sizes");
  }
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig config, flags.model.model_dir.empty()
                                                       ? NamedModelShape(flags.model.shape)
                                                       : LoadModelConfig(flags.model.model_dir));
  FleetReport report;
  report.model = config.name;
  QUIRE_ASSIGN_OR_RETURN(const FleetOptions one,
                         MakeFleet(flags, config, report.times, 1, flags.seed));
  DescribeFleet(flags, one, &report);
  QUIRE_RETURN_IF_ERROR(FindStepTimes(flags, config, one, &report));
  const SteadyClock clock;
  const TimePoint start = clock.Now();
  for (const int32_t replicas : sizes) {
    for (const std::string& policy : policies) {
      QUIRE_ASSIGN_OR_RETURN(FleetRow row, RunPolicy(flags, config, replicas, policy, &report));
      report.rows.push_back(std::move(row));
    }
  }
  report.wall_seconds = ToSeconds(clock.Now() - start);
  PrintFleet(report, std::cout);
  QUIRE_RETURN_IF_ERROR(WriteFleetSvg(report, flags.svg_file));
  return WriteJsonFile(FleetJson(report), flags.json_file);
}

}  // namespace

Command AddBenchFleetCommand(CLI::App* root) {
  auto flags = std::make_shared<FleetFlags>();
  CLI::App* app = root->add_subcommand(
      "fleet",
      "Many replicas on paper, with the server's scheduler: policies of routing requests to them");
  AddFleetOptions(app, flags.get());
  return {app, [flags] {
            const absl::Status status = RunFleet(*flags);
            return status.ok() ? kExitOk : ReportError(kName, status);
          }};
}

}  // namespace quire::cli
