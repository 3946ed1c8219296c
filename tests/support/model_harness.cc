#include "tests/support/model_harness.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/capacity/model_kv_layout.h"
#include "core/model/weight_source.h"
#include "core/model/weights.h"
#include "kernels/api/device_factory.h"

namespace quire::testing {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  QUIRE_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}

void OrDie(const kernels::DeviceStatus& status) { QUIRE_CHECK(status.ok()) << status.message(); }

}  // namespace

ModelHarness::ModelHarness(const Options& options) : options_(options) {
  config_ = OrDie(LoadModelConfig(options.model_dir));
  OrDie(kernels::CreateDevice({.kind = "cpu", .threads = options.threads}, &device_));
  auto source = OrDie(CheckpointSource::Open(options.model_dir));
  ModelWeights weights =
      OrDie(LoadWeights(config_, source.get(), device_.get(), kernels::DType::kBF16, {}));
  const KvLayout layout = MakeKvLayout(config_, options.block_tokens, kernels::DType::kBF16);
  OrDie(device_->Allocate(options.kv_bytes, &arena_memory_));
  arena_ = std::make_unique<SlabArena>(
      options.kv_bytes, SlabArena::SlabBytesFor(options.kv_bytes, layout.BlockBytes()));
  kv_ = std::make_unique<KvCacheManager>(layout, arena_.get());
  const kernels::BatchCapacity capacity = {
      .tokens = options.engine.max_step_tokens,
      .sequences = options.engine.max_running_requests,
      .table_entries = static_cast<int32_t>(kv_->total_blocks()),
      .logit_rows = options.engine.max_running_requests};
  runner_ = OrDie(TransformerRunner::Create(
      device_.get(), config_, std::move(weights), layout.LayerViews(arena_memory_.data()),
      {.capacity = capacity, .max_context = options.engine.max_context_tokens}));
  engine_ = std::make_unique<Engine>(
      options.engine, EngineDependencies{.runner = runner_.get(),
                                         .kv = kv_.get(),
                                         .sink = &sink_,
                                         .clock = &clock_,
                                         .stop_rules = {.eos_token_ids = config_.eos_token_ids,
                                                        .token_bytes = [](TokenId) {
                                                          return std::string_view();
                                                        }}});
}

ModelHarness::~ModelHarness() {
  engine_->AbortAll();
  while (engine_->live_requests() > 0) engine_->Step();
}

Request ModelHarness::MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request;
  request.id = engine_->NextRequestId();
  request.prompt = std::move(prompt);
  request.sampling.max_tokens = max_tokens;
  request.sampling.logprobs = true;
  request.arrival = clock_.Now();
  return request;
}

std::vector<std::byte> ModelHarness::RunToEnd(RequestId id) {
  std::vector<BlockId> full_blocks;
  while (sink_.of(id).terminals == 0) {
    QUIRE_CHECK(engine_->Step());
    for (const auto& sequence : engine_->scheduler().running()) {
      if (sequence->request().id != id) continue;
      const BlockTable& table = kv_->Table(sequence->id());
      const auto full = table.filled_tokens / options_.block_tokens;
      full_blocks.assign(table.blocks.begin(), table.blocks.begin() + full);
    }
  }
  // Its blocks are free by now, but nothing has run since that could have written to them.
  return ReadBlocks(full_blocks);
}

std::vector<std::byte> ModelHarness::ReadBlocks(std::span<const BlockId> blocks) {
  const size_t block_bytes = kv_->layout().BlockBytes();
  const BlockAddressing addressing = {.units_per_block = kv_->units_per_block(),
                                      .blocks_per_slab = kv_->blocks_per_slab(),
                                      .slab_units = kv_->slab_units()};
  std::vector<std::byte> bytes(blocks.size() * block_bytes);
  for (size_t i = 0; i < blocks.size(); ++i) {
    device_->CopyToHost(
        bytes.data() + i * block_bytes,
        arena_memory_.data() + addressing.OffsetUnits(blocks[i]) * kernels::kKvOffsetUnit,
        block_bytes);
  }
  device_->RecordEvent()->Wait();
  return bytes;
}

}  // namespace quire::testing
