#include "tests/support/model_fixture.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "core/base/check.h"
#include "core/capacity/model_kv_layout.h"
#include "core/model/weight_source.h"
#include "kernels/api/device_factory.h"

namespace quire::testing {
namespace {

constexpr uint32_t kBlocksPerSlab = 3;  // small, so that tables cross slabs

template <typename T>
T Must(absl::StatusOr<T> value) {
  QUIRE_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}

}  // namespace

ModelFixture::ModelFixture(const Options& options) : options_(options) {
  QUIRE_CHECK(options.max_context % options.block_tokens == 0);
  config_ = Must(LoadModelConfig(options.model_dir));
  layout_ = MakeKvLayout(config_, options.block_tokens, options.kv.value_or(options.compute));
  MakeDevice();
  AllocateKv();
  LoadModel();
}

void ModelFixture::MakeDevice() {
  if (options_.make_device) {
    device_ = options_.make_device();
    return;
  }
  const kernels::DeviceStatus status =
      kernels::CreateDevice({.kind = "cpu", .threads = options_.threads}, &device_);
  QUIRE_CHECK(status.ok()) << status.message();
}

void ModelFixture::AllocateKv() {
  const auto blocks = static_cast<uint32_t>(options_.sequences * blocks_a_sequence());
  const uint32_t slabs = (blocks + kBlocksPerSlab - 1) / kBlocksPerSlab;
  const auto units = static_cast<uint32_t>(layout_.BlockBytes() / kernels::kKvOffsetUnit);
  const size_t bytes = size_t{slabs} * kBlocksPerSlab * layout_.BlockBytes();
  const kernels::DeviceStatus status = device_->Allocate(bytes, &arena_);
  QUIRE_CHECK(status.ok()) << status.message();
  const std::vector<std::byte> nans(bytes, std::byte{0xFF});
  device_->CopyToDevice(arena_.data(), nans.data(), bytes);
  device_->RecordEvent()->Wait();

  std::mt19937 random(options_.placement);
  slab_units_.resize(slabs);
  for (uint32_t i = 0; i < slabs; ++i) slab_units_[i] = i * kBlocksPerSlab * units;
  std::shuffle(slab_units_.begin(), slab_units_.end(), random);
  addressing_ = {
      .units_per_block = units, .blocks_per_slab = kBlocksPerSlab, .slab_units = slab_units_};
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  sequences_.resize(static_cast<size_t>(options_.sequences));
  for (size_t i = 0; i < order.size(); ++i) {
    sequences_[i % sequences_.size()].blocks.push_back(BlockId(order[i]));
  }
}

void ModelFixture::LoadModel() {
  const auto source = Must(CheckpointSource::Open(options_.model_dir));
  ModelWeights weights = Must(LoadWeights(config_, source.get(), device_.get(), options_.compute,
                                          nullptr, options_.weights));
  const int32_t tokens = options_.sequences * options_.max_context;
  const kernels::BatchCapacity capacity = {
      .tokens = tokens,
      .sequences = options_.sequences,
      .table_entries = options_.sequences * blocks_a_sequence(),
      .logit_rows = tokens};
  runner_ = Must(TransformerRunner::Create(device_.get(), config_, std::move(weights),
                                           layout_.LayerViews(arena_.data()),
                                           {.capacity = capacity,
                                            .max_context = options_.max_context,
                                            .use_graphs = options_.use_graphs}));
}

BatchInput ModelFixture::MakeInput(const std::vector<Chunk>& chunks) {
  StepPlan plan;
  plan.id = StepId(++steps_);
  for (const Chunk& chunk : chunks) {
    SequenceState& sequence = sequences_[static_cast<size_t>(chunk.sequence)];
    SequenceStep step;
    step.sequence = SequenceId(static_cast<uint64_t>(chunk.sequence));
    step.start = sequence.length;
    step.num_tokens = chunk.feedback_row >= 0 ? 1 : static_cast<int32_t>(chunk.tokens.size());
    step.feedback_row = chunk.feedback_row;
    step.sample = true;
    step.tokens = chunk.tokens;
    step.blocks[0] = sequence.blocks;
    plan.num_tokens += step.num_tokens;
    plan.num_logit_rows += 1;
    plan.sequences.push_back(step);
    sequence.length += step.num_tokens;
    QUIRE_CHECK(sequence.length <= options_.max_context);
  }
  BatchInput input;
  BuildBatchInput(plan, {&addressing_, 1}, &input);
  return input;
}

std::vector<float> ModelFixture::Step(const std::vector<Chunk>& chunks) {
  BatchInput input = MakeInput(chunks);
  input.counts.logit_rows = input.counts.tokens;
  input.logit_rows.resize(static_cast<size_t>(input.counts.tokens));
  std::iota(input.logit_rows.begin(), input.logit_rows.end(), 0);
  input.sampling.resize(input.logit_rows.size());
  QUIRE_CHECK(runner_->LaunchForward(input).ok());
  std::vector<float> logits = Must(runner_->CopyLogits());
  QUIRE_CHECK(runner_->LaunchSample(input).ok());
  Must(runner_->Complete());
  return logits;
}

std::vector<TokenId> ModelFixture::Greedy(const std::vector<TokenId>& prompt, int32_t count) {
  return GreedyTogether({prompt}, count)[0];
}

// The input is gone when this returns: a runner copies what it needs later.
void ModelFixture::Launch(const std::vector<Chunk>& chunks) {
  const BatchInput input = MakeInput(chunks);
  QUIRE_CHECK(runner_->LaunchForward(input).ok());
  QUIRE_CHECK(runner_->LaunchSample(input).ok());
}

std::vector<std::vector<TokenId>> ModelFixture::GreedyTogether(
    const std::vector<std::vector<TokenId>>& prompts, int32_t count) {
  std::vector<std::vector<TokenId>> generated(prompts.size());
  const auto complete = [&] {
    const auto sampled = Must(runner_->Complete());
    for (size_t i = 0; i < prompts.size(); ++i) generated[i].push_back(sampled[i].token_id);
  };
  const int32_t ahead = runner_->in_flight_depth();
  for (int32_t step = 0; step < count; ++step) {
    std::vector<Chunk> chunks;
    for (size_t i = 0; i < prompts.size(); ++i) {
      Chunk& chunk = chunks.emplace_back();
      chunk.sequence = static_cast<int32_t>(i);
      if (step == 0) {
        chunk.tokens = prompts[i];
      } else if (ahead > 0) {
        chunk.feedback_row = static_cast<int32_t>(i);
      } else {
        chunk.tokens = {generated[i].back()};
      }
    }
    Launch(chunks);
    if (step >= ahead) complete();
  }
  while (generated[0].size() < static_cast<size_t>(count)) complete();
  return generated;
}

std::vector<std::byte> ModelFixture::KvBytes(int32_t sequence) const {
  const SequenceState& state = sequences_[static_cast<size_t>(sequence)];
  const size_t block_bytes = layout_.BlockBytes();
  const auto blocks = static_cast<size_t>(layout_.BlocksFor(state.length));
  std::vector<std::byte> bytes(blocks * block_bytes);  // of its final size: copies are enqueued
  for (size_t i = 0; i < blocks; ++i) {
    const size_t offset = kernels::kKvOffsetUnit * addressing_.OffsetUnits(state.blocks[i]);
    device_->CopyToHost(bytes.data() + i * block_bytes, arena_.data() + offset, block_bytes);
  }
  device_->RecordEvent()->Wait();
  return bytes;
}

}  // namespace quire::testing
