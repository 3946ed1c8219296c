#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/cli/bench_machine.h"
#include "server/cli/load/sample_set.h"

namespace quire::cli {

// Repeated runs of the same work.
struct BenchTimes {
  double median_seconds = 0;
  double min_seconds = 0;
};
BenchTimes Summarize(std::vector<double> seconds);

// What all calls of an operation of one shape took together.
struct OpTime {
  std::string name;  // "linear 3072 x 2048": outputs x inputs; "attention G 8 D 64"; "rms_norm"
  int64_t calls = 0;
  double seconds = 0;
  double flops = 0;  // of linear layers and attention
  double bytes = 0;  // weights and KV that they must read at least once

  OpTime PerRun(int32_t runs) const;  // the mean, where these are of so many
};
nlohmann::ordered_json OpJson(const OpTime& op);
nlohmann::ordered_json MachineJson(const MachineSpeed& machine);

// One line of the result. Rates are of the median.
struct BenchResult {
  int32_t batch = 0;    // sequences
  int32_t context = 0;  // decode: tokens of KV per sequence; prefill: length of the prompt
  int32_t chunk = 0;    // prefill: tokens a step; 0: decode
  int64_t tokens = 0;   // that a run computes
  double flops = 0;     // of a run
  double bytes = 0;     // read by a run
  BenchTimes times = {};
  std::vector<OpTime> ops = {};  // of a run, on average; may be empty
};

// Users who each send a request, wait for its answer and send the next: a closed loop, so what does
// not fit the KV cache waits and shows in the time to the first token.
struct LoadOptions {
  int32_t users = 0;
  int32_t requests = 0;         // of all users together
  int32_t prompt = 0;           // random tokens; no two prompts share a beginning
  int32_t output = 0;           // tokens of an answer, whatever they are
  int32_t max_step_tokens = 0;  // prompt tokens and decode rows of a step
  int64_t kv_bytes = 0;         // of the KV cache
};

struct LoadResult {
  SampleSummary first_token;     // seconds from a request's submission
  double tokens_per_second = 0;  // generated
  int64_t most_running = 0;      // requests in a step at once
};

struct BenchReport {
  std::string model;
  std::string weights;  // "random" or the directory
  std::string device;
  std::string compute_dtype;
  int32_t threads = 0;
  int32_t block_tokens = 0;
  int64_t block_bytes = 0;
  int64_t weight_bytes = 0;
  int32_t repeat = 0;
  MachineSpeed machine;
  std::vector<BenchResult> results;
};

void PrintReport(const BenchReport& report, std::ostream& out);
nlohmann::ordered_json ReportJson(const BenchReport& report);

// Writes a result as it is to be read: indented, in the order of its keys. Nothing where the file
// has no name.
absl::Status WriteJsonFile(const nlohmann::ordered_json& json, const std::string& name);

}  // namespace quire::cli
