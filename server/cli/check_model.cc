#include "server/cli/check_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/capacity/model_kv_layout.h"
#include "core/model/batch_input.h"
#include "core/model/device_memory.h"
#include "core/model/transformer_runner.h"
#include "core/model/weight_source.h"
#include "core/plan/step_plan.h"
#include "kernels/api/device_factory.h"

namespace quire::cli {
namespace {

constexpr int32_t kBlockTokens = 16;
// Tokens a step: few, since logits of every one are kept.
constexpr int32_t kChunk = 16;

absl::StatusOr<double> LogProbability(std::span<const float> logits, TokenId id, size_t position) {
  double max = -INFINITY, sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) {
      return absl::InternalError(
          absl::StrCat("the logit of token ", i, " at position ", position, " is ", logits[i]));
    }
    max = std::max<double>(max, logits[i]);
  }
  for (const float logit : logits) sum += std::exp(logit - max);
  return logits[static_cast<size_t>(id)] - max - std::log(sum);
}

// One sequence in blocks that lie one after the other.
class Stepper {
 public:
  Stepper(TransformerRunner* runner, const KvLayout& layout, std::span<const TokenId> ids)
      : runner_(runner), ids_(ids) {
    const int32_t count = layout.BlocksFor(static_cast<int64_t>(ids.size()));
    for (int32_t b = 0; b < count; ++b) blocks_.push_back(BlockId(static_cast<uint32_t>(b)));
    addressing_.units_per_block =
        static_cast<uint32_t>(layout.BlockBytes() / kernels::kKvOffsetUnit);
    addressing_.blocks_per_slab = static_cast<uint32_t>(count);
    addressing_.slab_units = kSlabStart;
  }

  // Logits of the tokens from `start` on, [count, vocab].
  absl::StatusOr<std::vector<float>> Run(size_t start, size_t count) {
    StepPlan plan;
    plan.id = StepId(++steps_);
    SequenceStep& step = plan.sequences.emplace_back();
    step.sequence = SequenceId(1);
    step.start = static_cast<int32_t>(start);
    step.num_tokens = plan.num_tokens = static_cast<int32_t>(count);
    step.tokens = ids_.subspan(start, count);
    step.blocks[0] = blocks_;
    BuildBatchInput(plan, {&addressing_, 1}, &input_);
    input_.counts.logit_rows = static_cast<int32_t>(count);
    input_.logit_rows.resize(count);
    std::iota(input_.logit_rows.begin(), input_.logit_rows.end(), 0);
    input_.sampling.resize(count);
    QUIRE_RETURN_IF_ERROR(runner_->LaunchForward(input_));
    absl::StatusOr<std::vector<float>> logits = runner_->CopyLogits();
    QUIRE_RETURN_IF_ERROR(logits.status());
    QUIRE_RETURN_IF_ERROR(runner_->LaunchSample(input_));
    QUIRE_RETURN_IF_ERROR(runner_->Complete().status());
    return logits;
  }

 private:
  static constexpr uint32_t kSlabStart[] = {0};

  TransformerRunner* const runner_;
  const std::span<const TokenId> ids_;
  std::vector<BlockId> blocks_;
  BlockAddressing addressing_;
  BatchInput input_;
  uint64_t steps_ = 0;
};

}  // namespace

CheckModel::~CheckModel() = default;

absl::StatusOr<std::unique_ptr<CheckModel>> CheckModel::Load(const std::string& model_dir,
                                                             const ModelConfig& config, int threads,
                                                             const LoadProgress& progress) {
  std::unique_ptr<CheckModel> model(new CheckModel(config, config.DefaultComputeType()));
  QUIRE_RETURN_IF_ERROR(
      FromDevice(kernels::CreateDevice({.kind = "cpu", .threads = threads}, &model->device_),
                 "creating the device"));
  QUIRE_ASSIGN_OR_RETURN(const auto source, CheckpointSource::Open(model_dir, model->compute_));
  QUIRE_ASSIGN_OR_RETURN(model->weights_, LoadWeights(config, source.get(), model->device_.get(),
                                                      model->compute_, progress));
  model->weight_bytes_ = model->weights_.DeviceBytes();
  return model;
}

int64_t CheckModel::available_bytes() const {
  return static_cast<int64_t>(device_->AvailableBytes());
}

absl::StatusOr<double> CheckModel::Perplexity(const std::vector<TokenId>& ids) {
  const KvLayout layout = MakeKvLayout(config_, kBlockTokens, compute_);
  const int32_t blocks = layout.BlocksFor(static_cast<int64_t>(ids.size()));
  QUIRE_ASSIGN_OR_RETURN(
      const kernels::DeviceBuffer arena,
      AllocateOnDevice(device_.get(), layout.BlockBytes() * static_cast<size_t>(blocks),
                       "the KV cache"));
  const TransformerRunnerOptions options = {
      .capacity = {.tokens = kChunk, .sequences = 1, .table_entries = blocks, .logit_rows = kChunk},
      .max_context = static_cast<int32_t>(ids.size())};
  QUIRE_ASSIGN_OR_RETURN(const auto runner,
                         TransformerRunner::Create(device_.get(), config_, std::move(weights_),
                                                   layout.LayerViews(arena.data()), options));
  Stepper stepper(runner.get(), layout, ids);
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  double sum = 0;
  for (size_t start = 0; start + 1 < ids.size(); start += kChunk) {
    const size_t count = std::min<size_t>(kChunk, ids.size() - 1 - start);
    QUIRE_ASSIGN_OR_RETURN(const std::vector<float> logits, stepper.Run(start, count));
    for (size_t row = 0; row < count; ++row) {
      const size_t position = start + row;
      QUIRE_ASSIGN_OR_RETURN(const double log_probability,
                             LogProbability(std::span(logits).subspan(row * vocab, vocab),
                                            ids[position + 1], position));
      sum -= log_probability;
    }
  }
  return std::exp(sum / static_cast<double>(ids.size() - 1));
}

}  // namespace quire::cli
