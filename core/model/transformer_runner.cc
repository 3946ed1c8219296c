#include "core/model/transformer_runner.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/model/device_memory.h"
#include "core/model/rope_table.h"

namespace quire {

using kernels::KvLayerView;
using kernels::SampledToken;
using kernels::TokenLogprob;

namespace {

absl::Status ValidateOptions(const TransformerRunnerOptions& options, const ModelConfig& config) {
  const kernels::BatchCapacity& c = options.capacity;
  if (c.tokens < 1 || c.sequences < 1 || c.table_entries < 1 || c.logit_rows < 1) {
    return absl::InvalidArgumentError("every capacity of a step must be at least 1");
  }
  if (options.max_context < 1 || options.max_context > config.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("the longest context must be in [1, ", config.max_positions,
                     "], the positions this model was made for, found ", options.max_context));
  }
  return absl::OkStatus();
}

void CheckKvLayers(const std::vector<KvLayerView>& layers, const ModelConfig& config) {
  QUIRE_CHECK(layers.size() == config.kv_groups.size()) << layers.size() << " KV layers";
  for (size_t l = 0; l < layers.size(); ++l) {
    QUIRE_CHECK(layers[l].kv_groups == config.kv_groups[l]) << "layer " << l;
    QUIRE_CHECK(layers[l].head_dim == config.head_dim) << "layer " << l;
    QUIRE_CHECK(layers[l].block_tokens == layers[0].block_tokens) << "layer " << l;
    QUIRE_CHECK(layers[l].cache_class >= 0 && layers[l].cache_class < kernels::kMaxCacheClasses);
  }
}

int32_t NumCacheClasses(const std::vector<KvLayerView>& layers) {
  int32_t last = 0;
  for (const KvLayerView& layer : layers) last = std::max(last, layer.cache_class);
  return last + 1;
}

// What the arrays hold is what the counts say: kernels read by the counts alone.
void CheckSizes(const BatchInput& input) {
  const auto tokens = static_cast<size_t>(input.counts.tokens);
  const auto sequences = static_cast<size_t>(input.counts.sequences);
  QUIRE_CHECK(input.token_ids.size() == tokens && input.positions.size() == tokens);
  QUIRE_CHECK(input.kv_len.size() == sequences && input.q_start.size() == sequences + 1);
  for (int32_t c = 0; c < input.num_classes; ++c) {
    QUIRE_CHECK(input.tables[static_cast<size_t>(c)].start.size() == sequences + 1);
  }
  QUIRE_CHECK(input.logit_rows.size() == static_cast<size_t>(input.counts.logit_rows));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TransformerRunner>> TransformerRunner::Create(
    kernels::Device* device, const ModelConfig& config, ModelWeights weights,
    std::vector<KvLayerView> kv_layers, const TransformerRunnerOptions& options) {
  QUIRE_RETURN_IF_ERROR(ValidateOptions(options, config));
  QUIRE_CHECK(weights.layers.size() == config.kv_groups.size());
  CheckKvLayers(kv_layers, config);
  std::unique_ptr<TransformerRunner> runner(
      new TransformerRunner(device, config, std::move(weights), std::move(kv_layers), options));
  QUIRE_RETURN_IF_ERROR(runner->AllocateMemory());
  return runner;
}

TransformerRunner::TransformerRunner(kernels::Device* device, const ModelConfig& config,
                                     ModelWeights weights, std::vector<KvLayerView> kv_layers,
                                     const TransformerRunnerOptions& options)
    : device_(device),
      config_(config),
      weights_(std::move(weights)),
      weight_bytes_(weights_.DeviceBytes()),
      kv_layers_(std::move(kv_layers)),
      options_(options),
      act_(weights_.compute == kernels::DType::kF32 ? kernels::DType::kF32
                                                    : kernels::DType::kBF16) {}

TransformerRunner::~TransformerRunner() { device_->RecordEvent()->Wait(); }

absl::Status TransformerRunner::AllocateMemory() {
  QUIRE_ASSIGN_OR_RETURN(
      cos_sin_,
      UploadFloats(device_, RopeTable(config_.rope, config_.head_dim, options_.max_context),
                   "the rotary table"));
  if (config_.window_rope.has_value()) {
    QUIRE_ASSIGN_OR_RETURN(
        window_cos_sin_,
        UploadFloats(device_,
                     RopeTable(*config_.window_rope, config_.head_dim, options_.max_context),
                     "the rotary table"));
  }
  QUIRE_ASSIGN_OR_RETURN(workspace_,
                         ForwardWorkspace::Create(device_, config_, options_.capacity, act_));
  const int64_t history =
      int64_t{options_.capacity.table_entries} * kv_layers_.front().block_tokens;
  for (int i = 0; i <= in_flight_depth(); ++i) {
    QUIRE_ASSIGN_OR_RETURN(StepBuffers buffers, StepBuffers::Create(device_, options_.capacity,
                                                                    NumCacheClasses(kv_layers_),
                                                                    history, options_.sampling));
    slots_.push_back({.buffers = std::move(buffers), .batch = {}, .graphs = {}, .done = nullptr});
  }
  completed_.resize(slots_.front().buffers.host_sampled().size());
  completed_alternatives_.resize(slots_.front().buffers.host_alternatives().size());
  return PrepareOps();
}

absl::Status TransformerRunner::PrepareOps() {
  std::vector<kernels::AttentionLayer> layers;
  for (int32_t l = 0; l < config_.num_layers; ++l) {
    const LayerShape shape = config_.Layer(l);
    if (shape.kv_groups == 0) continue;
    layers.push_back({.num_heads = shape.num_heads,
                      .kv_groups = shape.kv_groups,
                      .head_dim = config_.head_dim,
                      .window = shape.window,
                      .act = act_,
                      .kv = kv_layers_[static_cast<size_t>(l)].dtype});
  }
  return FromDevice(device_->ops().Prepare({.capacity = options_.capacity,
                                            .attention = layers.data(),
                                            .num_attention = static_cast<int32_t>(layers.size()),
                                            .vocab = config_.vocab_size}),
                    "what a step needs on the device");
}

void TransformerRunner::PlaceKv(std::byte* base) {
  QUIRE_CHECK(launched_ == 0) << "the KV cache cannot move once steps know it";
  for (KvLayerView& layer : kv_layers_) layer.base = base;
}

void TransformerRunner::CheckInput(const BatchInput& input) const {
  QUIRE_CHECK(launched_ == sampled_) << "a step was not sampled before the next";
  QUIRE_CHECK(launched_ - completed_steps_ < slots_.size()) << "too many steps in flight";
  CheckSizes(input);
  QUIRE_CHECK(input.counts.tokens >= 1 && input.counts.tokens <= options_.capacity.tokens);
  QUIRE_CHECK(input.counts.sequences <= options_.capacity.sequences);
  QUIRE_CHECK(input.counts.logit_rows <= options_.capacity.logit_rows);
  for (const int32_t length : input.kv_len) {
    QUIRE_CHECK(length <= options_.max_context) << "a sequence of " << length << " tokens";
  }
}

absl::Status TransformerRunner::LaunchForward(const BatchInput& input) {
  CheckInput(input);
  Slot& slot = SlotOf(launched_);
  const Slot& previous = SlotOf(launched_ + slots_.size() - 1);
  slot.logit_rows = input.counts.logit_rows;
  const StepBucket bucket = BucketOf(input.counts, input.q_start, options_.capacity);
  slot.batch = slot.buffers.UploadBatch(input, bucket.capacity, device_);
  device_->ops().BeginStep(slot.batch, {.q_start = input.q_start, .kv_len = input.kv_len});
  const auto forward = [&] { Forward(slot.batch, previous.buffers.sampled()); };
  if (bucket.decode >= 0 && options_.use_graphs && device_->CanCapture()) {
    QUIRE_RETURN_IF_ERROR(slot.graphs.Run(bucket.decode, device_, forward));
  } else {
    forward();
  }
  ++launched_;
  return absl::OkStatus();
}

absl::Status TransformerRunner::LaunchSample(const BatchInput& input) {
  QUIRE_CHECK(launched_ == sampled_ + 1) << "sampling goes with the step launched before it";
  Slot& slot = SlotOf(sampled_);
  const Slot& previous = SlotOf(sampled_ + slots_.size() - 1);
  QUIRE_CHECK(input.sampling.size() == static_cast<size_t>(slot.logit_rows));
  if (slot.logit_rows > 0) {
    const SamplingView sampling = slot.buffers.UploadSampling(input, device_);
    device_->ops().Sample({.batch = &slot.batch,
                           .logits = workspace_.logits.as<float>(),
                           .vocab = config_.vocab_size,
                           .rows = sampling.rows,
                           .history = sampling.history,
                           .edits = sampling.edits,
                           .allowed = sampling.allowed,
                           .previous = previous.buffers.sampled(),
                           .out = slot.buffers.sampled(),
                           .alternatives = slot.buffers.alternatives(),
                           .max_alternatives = slot.buffers.max_alternatives()});
    slot.has_alternatives = std::any_of(input.sampling.begin(), input.sampling.end(),
                                        [](const auto& row) { return row.alternatives > 0; });
    slot.buffers.DownloadSampled(slot.logit_rows, slot.has_alternatives, device_);
  }
  slot.done = device_->RecordEvent();
  ++sampled_;
  return absl::OkStatus();
}

absl::StatusOr<std::span<const SampledToken>> TransformerRunner::Complete() {
  QUIRE_CHECK(completed_steps_ < sampled_) << "no step is in flight";
  Slot& slot = SlotOf(completed_steps_);
  slot.done->Wait();
  if (const kernels::DeviceStatus status = device_->CheckError(); !status.ok()) {
    return absl::UnavailableError(absl::StrCat("the device failed: ", status.message()));
  }
  ++completed_steps_;
  // Copied, since the slot's next step may be launched while the caller still reads.
  const auto rows = static_cast<size_t>(slot.logit_rows);
  std::copy_n(slot.buffers.host_sampled().begin(), rows, completed_.begin());
  if (slot.has_alternatives) {
    std::copy_n(slot.buffers.host_alternatives().begin(),
                rows * static_cast<size_t>(options_.sampling.alternatives),
                completed_alternatives_.begin());
  }
  return std::span<const SampledToken>(completed_.data(), rows);
}

std::span<const TokenLogprob> TransformerRunner::Alternatives(int32_t row) const {
  const auto a_row = static_cast<size_t>(options_.sampling.alternatives);
  return std::span<const TokenLogprob>(completed_alternatives_)
      .subspan(static_cast<size_t>(row) * a_row, a_row);
}

absl::StatusOr<std::vector<float>> TransformerRunner::CopyLogits() {
  QUIRE_CHECK(launched_ > 0) << "no step was launched";
  const Slot& slot = SlotOf(launched_ - 1);
  std::vector<float> logits(static_cast<size_t>(slot.logit_rows) *
                            static_cast<size_t>(config_.vocab_size));
  device_->CopyToHost(logits.data(), workspace_.logits.data(), logits.size() * sizeof(float));
  device_->RecordEvent()->Wait();
  QUIRE_RETURN_IF_ERROR(FromDevice(device_->CheckError(), "copying logits"));
  return logits;
}

GraphStats TransformerRunner::graphs() const {
  GraphStats all;
  for (const Slot& slot : slots_) {
    const GraphStats stats = slot.graphs.stats();
    all.count += stats.count;
    all.failed += stats.failed;
    all.bytes += stats.bytes;
  }
  return all;
}

RunnerMemory TransformerRunner::memory() const {
  size_t workspace =
      cos_sin_.bytes() + window_cos_sin_.bytes() + workspace_.bytes() + device_->ops().WorkBytes();
  for (const Slot& slot : slots_) workspace += slot.buffers.bytes();
  return {.weights = weight_bytes(),
          .workspace = static_cast<int64_t>(workspace),
          .graphs = static_cast<int64_t>(graphs().bytes)};
}

}  // namespace quire
