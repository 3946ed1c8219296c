#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <vector>

namespace quire::cli {

struct SchedulerBenchOptions {
  int32_t running = 256;  // sequences in each step
  std::vector<int32_t> queued = {100, 1000, 10000, 100000};
  std::vector<int32_t> tenants = {1, 100, 1000};
  int32_t steps = 2000;  // timed, of each combination
};

// What a step costs beside computing, with that many running, waiting and tenants: the scheduler's
// part, without taking in new requests and what it tells of tenants, and all of the block
// manager's. In seconds.
struct SchedulerBenchResult {
  int32_t queued = 0;
  int32_t tenants = 0;
  double scheduler_median = 0, scheduler_p99 = 0;
  double kv_median = 0, kv_p99 = 0;
};

// Steady load without a model: requests of 128 prompt tokens and 64 answered ones of all tenants in
// turn, each that ends replaced by a new one.
std::vector<SchedulerBenchResult> BenchScheduler(const SchedulerBenchOptions& options);

void PrintSchedulerBench(const SchedulerBenchOptions& options,
                         const std::vector<SchedulerBenchResult>& results, std::ostream& out);
nlohmann::ordered_json SchedulerBenchJson(const SchedulerBenchOptions& options,
                                          const std::vector<SchedulerBenchResult>& results);

}  // namespace quire::cli
