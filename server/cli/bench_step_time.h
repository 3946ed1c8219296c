#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/model/model_config.h"
#include "server/cli/bench_model.h"

namespace quire::cli {

// What a device would make of a model unless told otherwise.
struct StepDevice {
  std::string description;
  kernels::DType compute = kernels::DType::kBF16;
  kernels::DType narrow_kv = kernels::DType::kInt8;  // that keys and values may have besides
};

// `options`: device and threads. An error where there is no such device.
absl::StatusOr<StepDevice> FindStepDevice(const BenchModelOptions& options,
                                          const ModelConfig& model);

// Predicts how long a decode step takes on a device of this machine, without the model's weights. A
// model of the same layers, but of a fraction of the depth and of the vocabulary, is run on random
// weights: a step without context tells what the weights cost, one with a long context what a token
// of KV costs, and both grow in proportion to the depth. The fraction is large enough to be read
// from memory, as the model will be, and not from a cache. One thread.
class DecodeStepPredictor {
 public:
  // `options`: device, threads, types and block size; `longest_context`: that will be asked for.
  // Unimplemented for a model whose layers differ in more than groups and windows.
  static absl::StatusOr<DecodeStepPredictor> Create(const ModelConfig& model,
                                                    const BenchModelOptions& options,
                                                    int32_t longest_context);

  // Of `batch` sequences with `context` tokens of KV each, where the layers have `kv_groups`, one
  // number each. Measures for a second or so what it has not measured before.
  absl::StatusOr<double> Seconds(const std::vector<int32_t>& kv_groups, int32_t batch,
                                 int32_t context);

 private:
  // Of a model with the same groups in every layer.
  struct StepTime {
    double start = 0;      // without context
    double per_token = 0;  // for each token of every sequence's context
  };

  DecodeStepPredictor(ModelConfig model, const BenchModelOptions& options, int32_t longest_context);
  absl::StatusOr<StepTime> Measure(int32_t kv_groups, int32_t batch) const;

  ModelConfig model_;
  BenchModelOptions options_;
  int32_t longest_context_;
  int32_t layers_;                                            // of the fraction
  std::map<std::pair<int32_t, int32_t>, StepTime> measured_;  // by groups and batch
};

}  // namespace quire::cli
