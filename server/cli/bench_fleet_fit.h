#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cli/bench_model.h"
#include "server/cli/fleet/step_time_model.h"

namespace quire::cli {

// The steps to measure: of at most so many sequences and query tokens, and of contexts up to the
// longest, as far as `kv_bytes` hold their KV.
struct FitOptions {
  BenchModelOptions model;
  int32_t max_running = 0;
  int32_t max_step_tokens = 0;
  int32_t longest_context = 0;
  int64_t kv_bytes = 0;
  double seconds = 0;  // about how long to measure
};

struct MeasuredStepTimes {
  StepTimeModel times;
  StepTimeError error;  // of the model, on what it was fitted to
  size_t steps = 0;     // different ones that were measured
  int32_t rounds = 0;   // how often each was
  std::string device;
  std::string compute_dtype;
  std::vector<StepSample> samples;
};

using StepRows = std::vector<BenchRow>;

// Decode steps, chunks of prompts, and chunks beside decode rows, over sizes and contexts. Pure.
std::vector<StepRows> StepsToFit(const FitOptions& options, const KvLayout& layout);

// Measures these steps in turns, so that a slow moment of the machine does not fall on one alone,
// and fits the model to the mean of each. One thread.
absl::StatusOr<MeasuredStepTimes> MeasureStepTimes(const FitOptions& options,
                                                   const ModelConfig& config);

}  // namespace quire::cli
