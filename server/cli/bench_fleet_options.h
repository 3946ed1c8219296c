#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cli/bench_fleet_fit.h"
#include "server/cli/bench_load_flags.h"
#include "server/cli/fleet/fleet.h"
#include "server/cli/fleet/router.h"

namespace quire::cli {

// The command line of `quire-bench fleet`.
struct FleetFlags : LoadFlags {
  FleetFlags() { max_samples = 1 << 20; }

  BenchModelOptions model;
  std::string dtype;
  std::string kv_dtype = "auto";
  std::string weights = "dense";
  std::string step_times_file;
  std::string write_step_times_file;
  double fit_seconds = 20;

  std::vector<int32_t> replicas = {1, 10, 100};
  std::vector<std::string> policies = {"all"};
  RouterOptions router;
  double view_seconds = 0;
  bool whole_fleet = false;
  int32_t seeds = 1;

  EngineOptions engine;
  int64_t kv_memory = int64_t{1} << 30;
  bool prefix_cache = true;
  double overhead_us = 20;
  double round_trip_us = 500;

  std::string json_file;
  std::string svg_file;
};

void AddFleetOptions(CLI::App* app, FleetFlags* flags);

// The names of the policies to compare, each once.
std::vector<std::string> PoliciesOf(const FleetFlags& flags);

// A fleet of so many replicas, each of which takes steps of such times, under its load with the
// seed. The error says what makes no sense of the flags, for that model. Pure.
absl::StatusOr<FleetOptions> MakeFleet(const FleetFlags& flags, const ModelConfig& config,
                                       const StepTimeModel& times, int32_t replicas, uint64_t seed);

// The steps that such a load takes, for the model's times to be measured. `fleet`: of MakeFleet.
FitOptions MakeFitOptions(const FleetFlags& flags, const FleetOptions& fleet);

}  // namespace quire::cli
