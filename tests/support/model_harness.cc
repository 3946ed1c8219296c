#include "tests/support/model_harness.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/capacity/model_kv_layout.h"
#include "core/engine/kv_sizing.h"
#include "core/engine/sampling_sizing.h"
#include "core/model/weight_source.h"
#include "core/model/weights.h"
#include "kernels/api/device_factory.h"
#include "tests/support/make_request.h"

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
  const KvLayouts layouts = MakeKvLayouts(config_, options.block_tokens, kernels::DType::kBF16);
  OrDie(device_->Allocate(options.kv_bytes, &arena_memory_));
  arena_ = std::make_unique<SlabArena>(options.kv_bytes,
                                       KvCacheManager::SlabBytes(layouts, options.kv_bytes));
  kv_ = std::make_unique<KvCacheManager>(layouts, arena_.get(),
                                         options.engine.InFlightTokens(device_->InFlightDepth()));
  if (options.prefix_cache) QUIRE_CHECK(kv_->EnablePrefixCache());
  const kernels::BatchCapacity capacity = {
      .tokens = options.engine.max_step_tokens,
      .sequences = options.engine.max_running_requests,
      .table_entries = MaxTableEntries(layouts, options.engine, options.kv_bytes),
      .logit_rows = options.engine.MaxLogitRows()};
  runner_ = OrDie(TransformerRunner::Create(
      device_.get(), config_, std::move(weights), ModelLayerViews(layouts, arena_memory_.data()),
      {.capacity = capacity,
       .max_context = options.engine.max_context_tokens,
       .sampling = SamplingCapacityFor(options.engine, config_.eos_token_ids.size())}));
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
  Request request = testing::MakeRequest(engine_.get(), clock_, std::move(prompt), max_tokens);
  request.sampling.logprobs = true;
  return request;
}

std::vector<std::byte> ModelHarness::RunToEnd(RequestId id) {
  std::vector<std::vector<BlockId>> full_blocks(kv_->num_classes());
  while (sink_.of(id).terminals == 0) {
    QUIRE_CHECK(engine_->Step());
    for (const Sequence* sequence : engine_->scheduler().Live()) {
      if (sequence->request().id != id || sequence->status() != RequestStatus::kRunning) continue;
      const auto full = sequence->launched() / options_.block_tokens;
      for (size_t c = 0; c < full_blocks.size(); ++c) {
        const BlockTable& table = kv_->Table(sequence->id(), c);
        full_blocks[c].assign(table.blocks.begin() + table.passed_blocks,
                              table.blocks.begin() + full);
      }
    }
  }
  // Its blocks are free by now, but nothing has run since that could have written to them.
  std::vector<std::byte> bytes;
  for (size_t c = 0; c < full_blocks.size(); ++c) ReadBlocks(c, full_blocks[c], &bytes);
  return bytes;
}

void ModelHarness::ReadBlocks(size_t cache_class, std::span<const BlockId> blocks,
                              std::vector<std::byte>* bytes) {
  const KvClassCache& cache = kv_->cache_class(cache_class);
  const size_t block_bytes = cache.layout().BlockBytes();
  const BlockAddressing addressing = {.units_per_block = cache.units_per_block(),
                                      .blocks_per_slab = cache.blocks_per_slab(),
                                      .slab_units = cache.slab_units()};
  for (BlockId block : blocks) {
    const size_t end = bytes->size();
    bytes->resize(end + block_bytes);
    device_->CopyToHost(
        bytes->data() + end,
        arena_memory_.data() + addressing.OffsetUnits(block) * kernels::kKvOffsetUnit, block_bytes);
    device_->RecordEvent()->Wait();
  }
}

}  // namespace quire::testing
