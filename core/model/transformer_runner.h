#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/decode_graphs.h"
#include "core/model/forward_workspace.h"
#include "core/model/model_config.h"
#include "core/model/model_runner.h"
#include "core/model/step_buffers.h"
#include "core/model/weights.h"
#include "kernels/api/device.h"
#include "kernels/api/ops.h"

namespace quire {

struct TransformerRunnerOptions {
  kernels::BatchCapacity capacity;  // every entry >= 1
  int32_t max_context = 0;          // longest sequence, in [1, config.max_positions]
  SamplingCapacity sampling{};
  bool use_graphs = true;  // for decode steps, where the device has them
};

// A decoder on one device: whatever a ModelConfig can describe. Owns the weights and all activation
// memory, which is allocated once; a step allocates nothing, except for a graph of its bucket (at
// most kDecodeBuckets for each step in flight and one more). The device and the KV arena behind the
// layer views must outlive it. A sampling row's history may be as long as its sequence.
class TransformerRunner final : public ModelRunner {
 public:
  // `kv_layers`: one view a layer, all with the same block size. InvalidArgument: an option out of
  // range; ResourceExhausted: no memory. Where the layers have no arena yet, PlaceKv comes next.
  static absl::StatusOr<std::unique_ptr<TransformerRunner>> Create(
      kernels::Device* device, const ModelConfig& config, ModelWeights weights,
      std::vector<kernels::KvLayerView> kv_layers, const TransformerRunnerOptions& options);

  TransformerRunner(const TransformerRunner&) = delete;
  TransformerRunner& operator=(const TransformerRunner&) = delete;
  ~TransformerRunner() override;  // waits for what is in flight

  // Before the first step: where the arena begins. So the arena can get what the runner has left.
  void PlaceKv(std::byte* base);

  int in_flight_depth() const override { return device_->InFlightDepth(); }
  absl::Status LaunchForward(const BatchInput& input) override;
  absl::Status LaunchSample(const BatchInput& input) override;
  absl::StatusOr<std::span<const kernels::SampledToken>> Complete() override;
  std::span<const kernels::TokenLogprob> Alternatives(int32_t row) const override;

  // Waits for the last LaunchForward and copies its logits [logit rows, vocab]; for checks of a
  // model. To be called before the next LaunchForward.
  absl::StatusOr<std::vector<float>> CopyLogits();

  RunnerMemory memory() const override;
  int64_t weight_bytes() const { return weight_bytes_; }
  GraphStats graphs() const;  // that decode steps have left so far

 private:
  struct Slot {
    StepBuffers buffers;
    kernels::BatchView batch;
    int32_t logit_rows = 0;
    bool has_alternatives = false;  // a row asked for some
    DecodeGraphs graphs;
    std::unique_ptr<kernels::Event> done;
  };

  TransformerRunner(kernels::Device* device, const ModelConfig& config, ModelWeights weights,
                    std::vector<kernels::KvLayerView> kv_layers,
                    const TransformerRunnerOptions& options);
  absl::Status AllocateMemory();
  Slot& SlotOf(uint64_t step) { return slots_[step % slots_.size()]; }
  void CheckInput(const BatchInput& input) const;

  absl::Status PrepareOps();
  // The operations of a step between its BeginStep and its sampling.
  void Forward(const kernels::BatchView& batch, const kernels::SampledToken* previous);
  void Embed(const kernels::BatchView& batch, const kernels::SampledToken* previous);
  void Attention(const kernels::BatchView& batch, const AttentionWeights& weights,
                 const LayerShape& shape, const kernels::KvLayerView& kv);
  void FeedForward(const kernels::BatchView& batch, const FeedForwardWeights& weights,
                   const LayerShape& shape);
  void Logits(const kernels::BatchView& batch);
  void RmsNorm(const kernels::BatchView& batch, const kernels::DeviceBuffer& weight,
               const kernels::DeviceBuffer& out, bool logit_rows_only = false);
  void Linear(const kernels::BatchView& batch, const kernels::DeviceBuffer& in,
              const LinearWeights& weights, const kernels::DeviceBuffer& out,
              bool accumulate = false);
  void AddBlock(const kernels::BatchView& batch, const kernels::DeviceBuffer& in,
                const LinearWeights& weights, const kernels::DeviceBuffer& post_norm);
  void RopeWriteKv(const kernels::BatchView& batch, const AttentionWeights& weights,
                   const LayerShape& shape, const kernels::KvLayerView& kv);
  void PagedAttention(const kernels::BatchView& batch, const LayerShape& shape,
                      const kernels::KvLayerView& kv);

  kernels::Device* const device_;
  const ModelConfig config_;
  const ModelWeights weights_;
  const int64_t weight_bytes_;
  std::vector<kernels::KvLayerView> kv_layers_;
  const TransformerRunnerOptions options_;
  const kernels::DType act_;

  kernels::DeviceBuffer cos_sin_;         // f32 [max_context, rotary dim] of config.rope
  kernels::DeviceBuffer window_cos_sin_;  // of config.window_rope; empty without one
  ForwardWorkspace workspace_;
  std::vector<Slot> slots_;  // in_flight_depth + 1; step n uses slot n modulo their number
  std::vector<kernels::SampledToken> completed_;
  std::vector<kernels::TokenLogprob> completed_alternatives_;

  // Steps so far; completed <= sampled <= launched <= sampled + 1.
  uint64_t launched_ = 0;
  uint64_t sampled_ = 0;
  uint64_t completed_steps_ = 0;
};

}  // namespace quire
