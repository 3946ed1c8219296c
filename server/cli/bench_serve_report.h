#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "server/cli/load/load_results.h"
#include "server/cli/load/load_runner.h"

namespace quire::cli {

// All that `quire-bench serve` has to say of a run.
struct ServeReport {
  std::string api;
  std::string target;
  std::string model;
  uint64_t seed = 0;
  double warmup_seconds = 0;
  std::vector<TenantSpec> tenants;
  Slo slo;
  RunSummary summary;
  const LoadCollector* results = nullptr;
  double client_cores = 0;  // processor seconds of the client per second
  int32_t machine_cores = 1;
};

// Why the numbers may not be what they seem, in sentences; empty for a clean run.
std::vector<std::string> ServeWarnings(const ServeReport& report);

void PrintServeReport(const ServeReport& report, std::ostream& out);
// Never has a tenant's key in it.
nlohmann::ordered_json ServeReportJson(const ServeReport& report);

}  // namespace quire::cli
