#include "server/cli/bench_model.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/capacity/model_kv_layout.h"
#include "core/model/device_memory.h"
#include "kernels/api/device_factory.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

// One seed for everything random: two runs of the benchmark do the same work.
constexpr uint64_t kSeed = 1;

absl::StatusOr<std::unique_ptr<WeightSource>> OpenWeights(const BenchModelOptions& options,
                                                          kernels::DType compute) {
  if (options.model_dir.empty()) return std::make_unique<RandomSource>(kSeed);
  return CheckpointSource::Open(options.model_dir, compute);
}

}  // namespace

BenchSizes LargestOf(const BenchSizes& a, const BenchSizes& b) {
  return {.sequences = std::max(a.sequences, b.sequences),
          .step_tokens = std::max(a.step_tokens, b.step_tokens),
          .context = std::max(a.context, b.context),
          .kv_blocks = std::max(a.kv_blocks, b.kv_blocks)};
}

absl::StatusOr<std::unique_ptr<BenchModel>> BenchModel::Create(const BenchModelOptions& options,
                                                               const ModelConfig& config,
                                                               const BenchSizes& sizes,
                                                               const LoadProgress& progress) {
  QUIRE_RETURN_IF_ERROR(ValidateBlockTokens(options.block_tokens));
  std::unique_ptr<BenchModel> model(new BenchModel());
  model->config_ = config;
  QUIRE_RETURN_IF_ERROR(FromDevice(
      kernels::CreateDevice(
          {.kind = options.device, .threads = options.threads, .cpu_tier = options.cpu_tier},
          &model->device_),
      "creating the device"));
  if (options.time_ops) {
    if (model->device_->InFlightDepth() > 0) {
      return absl::InvalidArgumentError("only a CPU's operations can be timed one by one");
    }
    auto timed = std::make_unique<TimedDevice>(std::move(model->device_));
    model->timed_ = timed.get();
    model->device_ = std::move(timed);
  }
  model->compute_ =
      options.compute.value_or(model->device_->DefaultCompute(config.checkpoint_dtype));
  QUIRE_ASSIGN_OR_RETURN(const kernels::DType kv,
                         ChooseKvDType(options.kv, model->compute_, model->device_->NarrowKv()));
  model->layout_ = MakeKvLayout(config, options.block_tokens, kv);
  QUIRE_RETURN_IF_ERROR(model->AllocateArena(options, sizes));
  QUIRE_RETURN_IF_ERROR(model->MakeRunner(options, sizes, progress));
  model->tokens_.resize(static_cast<size_t>(sizes.step_tokens));
  std::mt19937_64 random(kSeed);
  for (TokenId& token : model->tokens_) {
    token = static_cast<TokenId>(random() % static_cast<uint64_t>(config.vocab_size));
  }
  return model;
}

absl::Status BenchModel::AllocateArena(const BenchModelOptions& options, const BenchSizes& sizes) {
  const int64_t bytes = sizes.kv_blocks * static_cast<int64_t>(layout_.BlockBytes());
  if (bytes > options.kv_limit_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the largest batch and context need ", FormatBytes(bytes),
                     " of KV blocks, more than --kv-limit ", FormatBytes(options.kv_limit_bytes)));
  }
  QUIRE_RETURN_IF_ERROR(FromDevice(device_->Allocate(static_cast<size_t>(bytes), &arena_),
                                   "allocating the KV blocks"));
  FillArena();
  blocks_.resize(static_cast<size_t>(sizes.kv_blocks));
  ShuffleBlocks();
  return absl::OkStatus();
}

// Memory that was never written is all one page, which would be read at the speed of a cache.
void BenchModel::FillArena() {
  constexpr size_t kPieceBytes = size_t{1} << 20;
  std::vector<uint16_t> piece(kPieceBytes / sizeof(uint16_t));
  std::mt19937_64 random(kSeed);
  // As BF16 and as the upper half of an F32 alike: numbers between 0.5 and 2 of either sign.
  for (uint16_t& value : piece) {
    value = static_cast<uint16_t>(0x3f00 | (random() & 0x80ff));
  }
  for (size_t offset = 0; offset < arena_.bytes(); offset += kPieceBytes) {
    device_->CopyToDevice(arena_.data() + offset, piece.data(),
                          std::min(kPieceBytes, arena_.bytes() - offset));
  }
  FillScales();
  device_->RecordEvent()->Wait();
}

// Such that the elements beside them are numbers like that: with far larger ones every probability
// but one would be 0, which costs another time than others.
void BenchModel::FillScales() {
  if (kernels::KvScaleBytes(layout_.dtype) == 0) return;
  const size_t units = layout_.BlockBytes() / kernels::kKvOffsetUnit;
  for (const kernels::KvLayerView& view : layout_.LayerViews(arena_.data())) {
    const std::vector<float> scales(2 * static_cast<size_t>(view.kv_groups * view.block_tokens),
                                    0.015f);
    for (size_t block = 0; block < arena_.bytes() / layout_.BlockBytes(); ++block) {
      device_->CopyToDevice(view.Scales(static_cast<uint32_t>(block * units), 0), scales.data(),
                            scales.size() * sizeof(float));
    }
    device_->RecordEvent()->Wait();  // before the scales go
  }
}

void BenchModel::ShuffleBlocks() {
  for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i] = BlockId(static_cast<uint32_t>(i));
  std::shuffle(blocks_.begin(), blocks_.end(), std::mt19937_64(kSeed));
}

absl::Status BenchModel::MakeRunner(const BenchModelOptions& options, const BenchSizes& sizes,
                                    const LoadProgress& progress) {
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<WeightSource> source,
                         OpenWeights(options, compute_));
  QUIRE_ASSIGN_OR_RETURN(ModelWeights weights, LoadWeights(config_, source.get(), device_.get(),
                                                           compute_, progress, options.weights));
  step_weight_bytes_ = weights.DeviceBytes();
  if (weights.untied_head) step_weight_bytes_ -= static_cast<int64_t>(weights.embedding->bytes());
  TransformerRunnerOptions runner_options;
  runner_options.capacity = {.tokens = sizes.step_tokens,
                             .sequences = sizes.sequences,
                             .table_entries = static_cast<int32_t>(sizes.kv_blocks),
                             .logit_rows = sizes.sequences};
  runner_options.max_context = sizes.context;
  QUIRE_ASSIGN_OR_RETURN(
      runner_, TransformerRunner::Create(device_.get(), config_, std::move(weights),
                                         layout_.LayerViews(arena_.data()), runner_options));
  return absl::OkStatus();
}

void BenchModel::PlanStep(std::span<const BenchRow> rows) {
  plan_ = {};
  plan_.id = StepId(++steps_);
  std::span<const TokenId> tokens = tokens_;
  std::span<const BlockId> blocks = blocks_;
  for (const BenchRow& row : rows) {
    const auto num_tokens = static_cast<size_t>(row.tokens);
    const auto num_blocks = static_cast<size_t>(layout_.BlocksFor(row.start + row.tokens));
    SequenceStep step;
    step.sequence = SequenceId(plan_.sequences.size() + 1);
    step.start = row.start;
    step.num_tokens = row.tokens;
    step.sample = row.sample;
    step.tokens = tokens.first(num_tokens);
    step.blocks[0] = blocks.first(num_blocks);
    tokens = tokens.subspan(num_tokens);
    blocks = blocks.subspan(num_blocks);
    plan_.num_tokens += row.tokens;
    plan_.num_logit_rows += row.sample ? 1 : 0;
    plan_.sequences.push_back(step);
  }
}

absl::Status BenchModel::RunStep(std::span<const BenchRow> rows) {
  PlanStep(rows);
  static constexpr uint32_t kSlabStart[] = {0};
  BlockAddressing addressing;
  addressing.units_per_block = static_cast<uint32_t>(layout_.BlockBytes() / kernels::kKvOffsetUnit);
  addressing.blocks_per_slab = static_cast<uint32_t>(blocks_.size());
  addressing.slab_units = kSlabStart;
  BuildBatchInput(plan_, {&addressing, 1}, &input_);
  QUIRE_RETURN_IF_ERROR(runner_->LaunchForward(input_));
  QUIRE_RETURN_IF_ERROR(runner_->LaunchSample(input_));
  return runner_->Complete().status();
}

std::vector<OpTime> BenchModel::TakeOpTimes() {
  return timed_ == nullptr ? std::vector<OpTime>() : timed_->TakeTimes();
}

void BenchModel::AddAttention(const BenchRow& row, int32_t layer, StepCost* cost) const {
  const LayerShape shape = config_.Layer(layer);
  if (shape.kv_groups == 0) return;
  double pairs = 0;
  for (int32_t i = 0; i < row.tokens; ++i) {
    const int32_t seen = row.start + i + 1;
    pairs += shape.window > 0 ? std::min(seen, shape.window) : seen;
  }
  // Scores and weighted sum are 2 flops each.
  cost->flops += 4.0 * shape.num_heads * config_.head_dim * pairs;
  const int32_t tokens = row.start + row.tokens;
  const int32_t read = shape.window > 0 ? std::min(tokens, shape.window + row.tokens - 1) : tokens;
  const size_t row_bytes =
      static_cast<size_t>(config_.head_dim) * kernels::DTypeBytes(layout_.dtype) +
      kernels::KvScaleBytes(layout_.dtype);
  cost->bytes += 2.0 * shape.kv_groups * static_cast<double>(row_bytes) * read;
}

StepCost BenchModel::CostOf(std::span<const BenchRow> rows) const {
  const auto hidden = static_cast<double>(config_.hidden_size);
  const double head_flops = 2.0 * hidden * config_.vocab_size;
  double token_flops = 0;  // of the linear layers
  for (int32_t l = 0; l < config_.num_layers; ++l) {
    const LayerShape layer = config_.Layer(l);
    if (layer.kv_groups > 0) {
      token_flops += 4 * hidden * config_.head_dim * (layer.num_heads + layer.kv_groups);
    }
    token_flops += 6 * hidden * layer.intermediate_size;
  }
  StepCost cost;
  cost.bytes = static_cast<double>(step_weight_bytes_);
  for (const BenchRow& row : rows) {
    cost.flops += token_flops * row.tokens;
    if (row.sample) cost.flops += head_flops;
    for (int32_t l = 0; l < config_.num_layers; ++l) AddAttention(row, l, &cost);
  }
  return cost;
}

}  // namespace quire::cli
