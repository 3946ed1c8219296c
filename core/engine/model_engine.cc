#include "core/engine/model_engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/capacity/model_kv_layout.h"
#include "core/engine/kv_sizing.h"
#include "core/engine/model_tokenizer.h"
#include "core/engine/sampling_sizing.h"
#include "core/engine/special_text_tokenizer.h"
#include "core/engine/swap_setup.h"
#include "core/kv/slab_arena.h"
#include "core/model/device_memory.h"
#include "core/model/transformer_runner.h"
#include "core/model/weight_source.h"
#include "core/model/weights.h"
#include "kernels/api/device_factory.h"

namespace quire {
namespace {

// Members in the order of their lifetimes: what comes later uses what comes before.
class LocalModelEngine final : public ModelEngine {
 public:
  LocalModelEngine(const ModelEngineOptions& options, OutputSink* sink, const Clock* clock)
      : options_(options), sink_(sink), clock_(clock) {}

  absl::Status Load();

  Engine& engine() override { return *engine_; }
  EngineLoop& loop() override { return *loop_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  const Tokenizer& special_text_tokenizer() const override { return *special_text_; }
  const ModelConfig& config() const override { return config_; }
  const KvLayouts& kv_layouts() const override { return layouts_; }
  const EngineOptions& options() const override { return options_.engine; }
  int64_t weight_bytes() const override { return runner_->weight_bytes(); }
  int64_t in_flight_tokens() const override {
    return options_.engine.InFlightTokens(device_->InFlightDepth());
  }
  bool has_prefix_cache() const override { return has_prefix_cache_; }
  std::string device_description() const override { return device_->Description(); }
  int64_t swap_memory_bytes() const override { return swap_memory_bytes_; }
  const std::string& why_no_gpu() const override { return why_no_gpu_; }

 private:
  absl::Status DeriveOptions();
  absl::StatusOr<size_t> ChooseKv(size_t available) const;
  absl::Status AllocateKv(size_t available);
  absl::Status SetUpSwapping(size_t kv_bytes);
  absl::Status MakeRunner(ModelWeights weights, size_t kv_bytes);
  void MakeEngine();
  kernels::BatchCapacity Capacity(size_t kv_bytes) const;

  ModelEngineOptions options_;
  OutputSink* const sink_;
  const Clock* const clock_;
  ModelConfig config_;
  KvLayouts layouts_;
  kernels::DType compute_ = kernels::DType::kBF16;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<SpecialTextTokenizer> special_text_;
  std::unique_ptr<kernels::Device> device_;
  std::string why_no_gpu_;
  kernels::DeviceBuffer arena_memory_;
  std::unique_ptr<SlabArena> arena_;
  std::unique_ptr<KvCacheManager> kv_;
  bool has_prefix_cache_ = false;
  int64_t swap_memory_bytes_ = 0;
  double swap_seconds_per_byte_ = 0;
  std::unique_ptr<TransformerRunner> runner_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<EngineLoop> loop_;
};

absl::Status LocalModelEngine::Load() {
  QUIRE_ASSIGN_OR_RETURN(config_, LoadModelConfig(options_.model_dir));
  QUIRE_RETURN_IF_ERROR(
      FromDevice(kernels::CreateDevice({.kind = options_.device,
                                        .threads = options_.threads,
                                        .batch_invariant = options_.batch_invariant,
                                        .cpu_tier = options_.cpu_tier},
                                       &device_, &why_no_gpu_),
                 "creating the device"));
  QUIRE_RETURN_IF_ERROR(DeriveOptions());
  QUIRE_ASSIGN_OR_RETURN(tokenizer_, LoadModelTokenizer(options_.model_dir));
  if (tokenizer_->vocab_size() > config_.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(options_.model_dir, ": the tokenizer has ", tokenizer_->vocab_size(),
                     " ids, but the model only ", config_.vocab_size));
  }
  special_text_ = std::make_unique<SpecialTextTokenizer>(*tokenizer_);
  QUIRE_ASSIGN_OR_RETURN(auto source, CheckpointSource::Open(options_.model_dir, compute_));
  QUIRE_ASSIGN_OR_RETURN(ModelWeights weights,
                         LoadWeights(config_, source.get(), device_.get(), compute_,
                                     options_.progress, options_.weight_format));
  // The KV cache comes last, so that it gets what all others have left.
  const size_t available = device_->AvailableBytes();
  QUIRE_ASSIGN_OR_RETURN(const size_t at_most, ChooseKv(available));
  QUIRE_RETURN_IF_ERROR(MakeRunner(std::move(weights), at_most));
  QUIRE_RETURN_IF_ERROR(AllocateKv(available));
  MakeEngine();
  return absl::OkStatus();
}

absl::Status LocalModelEngine::DeriveOptions() {
  if (!options_.model_name.empty()) config_.name = options_.model_name;
  compute_ = options_.compute_dtype.value_or(device_->DefaultCompute(config_.checkpoint_dtype));
  QUIRE_RETURN_IF_ERROR(ValidateBlockTokens(options_.block_tokens));
  EngineOptions& engine = options_.engine;
  if (engine.max_context_tokens == 0) engine.max_context_tokens = config_.max_positions;
  if (engine.max_context_tokens > config_.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("a context of ", engine.max_context_tokens, " tokens is more than the ",
                     config_.max_positions, " that the model was made for"));
  }
  QUIRE_ASSIGN_OR_RETURN(const kernels::DType kv_dtype,
                         ChooseKvDType(options_.kv_dtype, compute_, device_->NarrowKv()));
  layouts_ = MakeKvLayouts(config_, options_.block_tokens, kv_dtype, engine.max_context_tokens);
  return engine.Validate();
}

absl::StatusOr<size_t> LocalModelEngine::ChooseKv(size_t available) const {
  return ChooseKvBytes(options_.kv_memory_bytes, available,
                       device_->HasOwnMemory() ? options_.gpu_memory_fraction : 0.5, layouts_,
                       options_.engine, device_->InFlightDepth());
}

// `available`: before the runner was made. Its workspace need not show in what the device has left,
// since the pages of a CPU's come with their first use.
absl::Status LocalModelEngine::AllocateKv(size_t available) {
  const auto workspace = static_cast<size_t>(runner_->memory().workspace);
  QUIRE_ASSIGN_OR_RETURN(
      const size_t bytes,
      ChooseKv(std::min(device_->AvailableBytes(), available - std::min(available, workspace))));
  QUIRE_ASSIGN_OR_RETURN(arena_memory_, AllocateOnDevice(device_.get(), bytes, "the KV cache"));
  runner_->PlaceKv(arena_memory_.data());
  arena_ = std::make_unique<SlabArena>(bytes, KvCacheManager::SlabBytes(layouts_, bytes));
  kv_ = std::make_unique<KvCacheManager>(layouts_, arena_.get(), in_flight_tokens());
  has_prefix_cache_ = options_.prefix_cache && kv_->EnablePrefixCache();
  return SetUpSwapping(bytes);
}

absl::Status LocalModelEngine::SetUpSwapping(size_t kv_bytes) {
  absl::StatusOr<Swapping> swapping = SetUpSwap(device_.get(), {arena_memory_.data(), kv_bytes},
                                                layouts_, options_.swap_memory_bytes, *clock_);
  if (!swapping.ok()) {
    return absl::Status(swapping.status().code(),
                        absl::StrCat(swapping.status().message(), "; see --swap-memory"));
  }
  if (swapping->swapper == nullptr) return absl::OkStatus();
  swap_memory_bytes_ = static_cast<int64_t>(swapping->swapper->host().bytes());
  swap_seconds_per_byte_ = swapping->seconds_per_byte;
  kv_->SetSwapper(std::move(swapping->swapper));
  return absl::OkStatus();
}

// For a KV cache of at most `kv_bytes`.
kernels::BatchCapacity LocalModelEngine::Capacity(size_t kv_bytes) const {
  const EngineOptions& engine = options_.engine;
  return {.tokens = engine.max_step_tokens,
          .sequences = engine.max_running_requests,
          .table_entries = MaxTableEntries(layouts_, engine, kv_bytes),
          .logit_rows = engine.MaxLogitRows()};
}

absl::Status LocalModelEngine::MakeRunner(ModelWeights weights, size_t kv_bytes) {
  absl::StatusOr<std::unique_ptr<TransformerRunner>> runner = TransformerRunner::Create(
      device_.get(), config_, std::move(weights), ModelLayerViews(layouts_, nullptr),
      {.capacity = Capacity(kv_bytes),
       .max_context = options_.engine.max_context_tokens,
       .sampling = SamplingCapacityFor(options_.engine, config_.eos_token_ids.size())});
  if (absl::IsResourceExhausted(runner.status())) {
    return absl::ResourceExhaustedError(absl::StrCat(
        runner.status().message(), "; lower --max-step-tokens, --max-running or --max-context"));
  }
  QUIRE_RETURN_IF_ERROR(runner.status());
  runner_ = *std::move(runner);
  return absl::OkStatus();
}

void LocalModelEngine::MakeEngine() {
  EngineDependencies dependencies;
  dependencies.runner = runner_.get();
  dependencies.kv = kv_.get();
  dependencies.sink = sink_;
  dependencies.clock = clock_;
  dependencies.swap_seconds_per_byte = swap_seconds_per_byte_;
  const auto bytes_of = [](const Tokenizer* tokenizer) {
    return [tokenizer](TokenId id) { return tokenizer->TokenBytes(id); };
  };
  dependencies.stop_rules = {.eos_token_ids = config_.eos_token_ids,
                             .token_bytes = bytes_of(tokenizer_.get()),
                             .shown_token_bytes = bytes_of(special_text_.get())};
  engine_ = std::make_unique<Engine>(options_.engine, std::move(dependencies));
  loop_ = std::make_unique<EngineLoop>(engine_.get(), options_.on_device_failure);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelEngine>> ModelEngine::Create(const ModelEngineOptions& options,
                                                                 OutputSink* sink,
                                                                 const Clock* clock) {
  auto engine = std::make_unique<LocalModelEngine>(options, sink, clock);
  QUIRE_RETURN_IF_ERROR(engine->Load());
  return std::unique_ptr<ModelEngine>(std::move(engine));
}

}  // namespace quire
