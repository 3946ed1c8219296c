#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "server/cli/bench_fleet_fit.h"
#include "server/cli/bench_fleet_numbers.h"
#include "server/cli/svg_chart.h"

namespace quire::cli {

struct FleetReport {
  std::string model;
  std::string times_from;  // a file, or the device
  StepTimeModel times;
  MeasuredStepTimes measured;  // of no steps where the times come from a file
  LoadPlan load;               // of one replica, unless it is of the whole fleet
  bool whole_fleet = false;
  EngineOptions engine;
  int64_t kv_bytes = 0;
  double view_seconds = 0;
  double overhead_seconds = 0, round_trip_seconds = 0;
  Slo slo;
  std::vector<FleetRow> rows;  // by replicas, then by policy
  uint64_t steps = 0;          // that were simulated in all
  double tokens = 0;           // generated in them
  double wall_seconds = 0;
};

void PrintFleet(const FleetReport& report, std::ostream& out);
nlohmann::ordered_json FleetJson(const FleetReport& report);
// Lines by policy over the numbers of replicas; with one such number, over the policies. Empty
// where there is one of both.
std::vector<Chart> FleetCharts(const FleetReport& report);

// What --write-step-times writes, and --step-times reads.
nlohmann::ordered_json StepTimesFile(const FleetReport& report);

}  // namespace quire::cli
