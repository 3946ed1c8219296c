#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "server/cli/bench_group_quality.h"
#include "server/cli/bench_report.h"
#include "server/cli/plan_report.h"
#include "server/cli/svg_chart.h"

namespace quire::cli {

// A model's shape with one number of KV groups: what it takes and how fast it is.
struct GroupsResult {
  int32_t kv_groups = 0;
  bool own = false;  // as the shape has
  int64_t token_bytes = 0;
  int64_t block_bytes = 0;
  int64_t blocks = 0;
  std::vector<int64_t> sequences;  // that fit, by context
  BenchResult prefill;
  std::vector<BenchResult> decode;
  std::vector<double> predicted_seconds;  // of the decode steps, before any was measured
  LoadResult load;
};

struct GroupsReport {
  std::string model;
  std::string device;
  std::string compute_dtype;
  int32_t query_heads = 0;
  int64_t kv_bytes = 0;  // of the cache that blocks, sequences and the load are for
  int32_t block_tokens = 0;
  int32_t repeat = 0;
  std::vector<int32_t> contexts;
  LoadOptions load;                     // without users: none was measured
  std::optional<QualityTable> quality;  // of a set of models that was trained for it
  MachineSpeed machine;
  std::vector<GroupsResult> results;  // from many groups to few
};

// How far the predictions were off from the fastest of the measured runs, as shares of it, since
// both are of a machine without other work; both 0 without any.
struct PredictionError {
  double median = 0;
  double p90 = 0;
};
PredictionError ErrorOf(const GroupsReport& report);

void PrintGroups(const GroupsReport& report, std::ostream& out);
nlohmann::ordered_json GroupsJson(const GroupsReport& report);
// Memory, time and quality over the number of groups.
std::vector<Chart> GroupsCharts(const GroupsReport& report);

}  // namespace quire::cli
