#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/kv/kv_layout.h"
#include "core/model/batch_input.h"
#include "core/model/model_config.h"
#include "core/model/transformer_runner.h"
#include "core/plan/step_plan.h"
#include "kernels/api/device.h"
#include "server/cli/bench_timed_device.h"

namespace quire::cli {

struct BenchModelOptions {
  std::string model_dir;       // either a model directory
  std::string shape;           // or a known shape with random weights
  std::string device = "cpu";  // auto, cpu, cuda
  int32_t threads = 0;
  std::string cpu_tier = "auto";
  std::optional<kernels::DType> compute;  // default: f32 for f32 checkpoints, else bf16
  std::optional<kernels::DType> kv;       // default: what is computed in
  kernels::WeightFormat weights = kernels::WeightFormat::kDense;
  int32_t block_tokens = 16;
  int64_t kv_limit_bytes = 0;  // most memory for the KV blocks
  bool time_ops = false;       // on a CPU
};

// The largest step that will be asked for.
struct BenchSizes {
  int32_t sequences = 0;
  int32_t step_tokens = 0;
  int32_t context = 0;    // tokens of the longest sequence
  int64_t kv_blocks = 0;  // of all sequences together, at most
};

// What holds either.
BenchSizes LargestOf(const BenchSizes& a, const BenchSizes& b);

// A sequence's part of a step: `tokens` query tokens behind `start` tokens of KV.
struct BenchRow {
  int32_t start = 0;
  int32_t tokens = 1;
  bool sample = false;
};

// Work of a step that its shape alone decides.
struct StepCost {
  double flops = 0;  // of the linear layers and the attention
  double bytes = 0;  // weights and KV that must be read at least once
};

// A model on a device with a filled KV arena, to be stepped without an engine. One thread.
class BenchModel {
 public:
  static absl::StatusOr<std::unique_ptr<BenchModel>> Create(const BenchModelOptions& options,
                                                            const ModelConfig& config,
                                                            const BenchSizes& sizes,
                                                            const LoadProgress& progress);

  // Runs one step; sequence n of the step is rows[n] and always has the same blocks.
  absl::Status RunStep(std::span<const BenchRow> rows);
  StepCost CostOf(std::span<const BenchRow> rows) const;
  // By the steps since the last call; empty unless BenchModelOptions::time_ops.
  std::vector<OpTime> TakeOpTimes();

  // For an engine of one's own, which has the arena and the sizes given to Create.
  ModelRunner* runner() { return runner_.get(); }

  const ModelConfig& config() const { return config_; }
  const KvLayout& layout() const { return layout_; }
  kernels::DType compute() const { return compute_; }
  int64_t weight_bytes() const { return runner_->weight_bytes(); }
  std::string device_description() const { return device_->Description(); }

 private:
  BenchModel() = default;
  absl::Status AllocateArena(const BenchModelOptions& options, const BenchSizes& sizes);
  void FillArena();
  void FillScales();
  void ShuffleBlocks();
  void PlanStep(std::span<const BenchRow> rows);
  void AddAttention(const BenchRow& row, int32_t layer, StepCost* cost) const;
  absl::Status MakeRunner(const BenchModelOptions& options, const BenchSizes& sizes,
                          const LoadProgress& progress);

  ModelConfig config_;
  KvLayout layout_;
  kernels::DType compute_ = kernels::DType::kBF16;
  std::unique_ptr<kernels::Device> device_;
  TimedDevice* timed_ = nullptr;  // device_, where operations are timed
  kernels::DeviceBuffer arena_;
  std::unique_ptr<TransformerRunner> runner_;
  int64_t step_weight_bytes_ = 0;  // read whole in every step: all but an untied embedding table

  std::vector<BlockId> blocks_;  // of all sequences, in random order
  std::vector<TokenId> tokens_;  // random; as many as a step may have
  uint64_t steps_ = 0;
  StepPlan plan_;
  BatchInput input_;
};

}  // namespace quire::cli
