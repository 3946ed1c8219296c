#include "tests/gpu/bench/bench_model.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "core/base/check.h"
#include "core/capacity/model_kv_layout.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_runtime.h"
#include "tests/gpu/bench/gpu.h"
#include "tests/gpu/bench/random_values.h"

namespace quire::bench {
namespace {

using kernels::DType;

constexpr int32_t kBlockTokens = 16;
constexpr float kWeightRange = 0.035f;         // a standard deviation of 0.02
constexpr size_t kReserved = size_t{4} << 30;  // for the runner's own memory and the library's
constexpr int kWarmUps = 6;                    // both slots run, record and replay
constexpr int kSteps = 25;

std::unique_ptr<kernels::Device> MakeGpu() {
  kernels::DeviceStatus status;
  auto runtime = kernels::cuda::MakeCudaRuntime(&status);
  QUIRE_CHECK(runtime != nullptr) << status.message();
  auto device = kernels::cuda::MakeCudaDevice(std::move(runtime), false, &status);
  QUIRE_CHECK(device != nullptr) << status.message();
  return device;
}

size_t HashOf(const std::string& name) {
  size_t hash = 14695981039346656037u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

PooledSource::PooledSource(size_t elements) : pool_(elements), ones_(1 << 16) {
  for (size_t i = 0; i < elements; ++i) {
    pool_[i] = kernels::FloatToBf16(kWeightRange * RandomValue(3, i));
  }
  std::fill(ones_.begin(), ones_.end(), kernels::FloatToBf16(1));
}

absl::StatusOr<std::vector<kernels::HostMatrix>> PooledSource::Fetch(
    std::span<const TensorSpec> specs) {
  std::vector<kernels::HostMatrix> matrices;
  for (const TensorSpec& spec : specs) {
    const auto elements = static_cast<size_t>(spec.rows * spec.cols);
    const std::vector<uint16_t>& from = spec.vector ? ones_ : pool_;
    QUIRE_CHECK(elements <= from.size()) << spec.name;
    const size_t begin = HashOf(spec.name) % (from.size() - elements + 1);
    matrices.push_back({from.data() + begin, DType::kBF16, spec.rows, spec.cols});
  }
  return matrices;
}

BenchModel::BenchModel(const ModelConfig& config, DType kv, std::unique_ptr<kernels::Device> device)
    : config_(config),
      layout_(MakeKvLayout(config, kBlockTokens, kv)),
      device_(std::move(device)) {}

std::unique_ptr<BenchModel> BenchModel::Create(const ModelConfig& config, PooledSource* source,
                                               int64_t kv_tokens, DType kv) {
  std::unique_ptr<BenchModel> model(new BenchModel(config, kv, MakeGpu()));
  const auto weight_bytes = static_cast<size_t>(2 * config.NumParameters());
  if (weight_bytes + 2 * kReserved > model->device_->AvailableBytes()) return nullptr;
  auto weights = LoadWeights(config, source, model->device_.get(), DType::kBF16, nullptr);
  QUIRE_CHECK(weights.ok()) << weights.status().ToString();
  model->AllocateKv(kv_tokens);
  const kernels::BatchCapacity capacity = {
      .tokens = kMaxBatch,
      .sequences = kMaxBatch,
      .table_entries = static_cast<int32_t>(model->blocks_.size()),
      .logit_rows = kMaxBatch};
  auto runner = TransformerRunner::Create(model->device_.get(), config, *std::move(weights),
                                          model->layout_.LayerViews(model->arena_.data()),
                                          {.capacity = capacity, .max_context = kMaxContext});
  QUIRE_CHECK(runner.ok()) << runner.status().ToString();
  model->runner_ = *std::move(runner);
  return model;
}

void BenchModel::AllocateKv(int64_t kv_tokens) {
  const size_t room = device_->AvailableBytes() - kReserved;
  const size_t wanted = static_cast<size_t>(layout_.BlocksFor(kv_tokens));
  const size_t count = std::min(wanted, room / layout_.BlockBytes());
  const size_t bytes = count * layout_.BlockBytes();
  const kernels::DeviceStatus status = device_->Allocate(bytes, &arena_);
  QUIRE_CHECK(status.ok()) << status.message();
  FillRandomKv({.layer = layout_.LayerViews(arena_.data()).front(),
                .blocks = count,
                .block_bytes = layout_.BlockBytes(),
                .layers = layout_.layers.size(),
                .layer_stride = layout_.LayerBytes(0)},
               4, nullptr);
  Must(cudaDeviceSynchronize(), "filling the KV");
  const auto units = static_cast<uint32_t>(layout_.BlockBytes() / kernels::kKvOffsetUnit);
  for (size_t i = 0; i < count; ++i) blocks_.push_back(static_cast<uint32_t>(i) * units);
  std::mt19937 random(1);
  std::shuffle(blocks_.begin(), blocks_.end(), random);
}

bool BenchModel::Fits(int32_t batch, int32_t context) const {
  return static_cast<size_t>(batch) * static_cast<size_t>(layout_.BlocksFor(context)) <=
         blocks_.size();
}

double BenchModel::weight_bytes() const {
  const double table =
      2.0 * static_cast<double>(config_.vocab_size) * static_cast<double>(config_.hidden_size);
  // Of an embedding that is not the head as well, a row a token is read.
  return static_cast<double>(runner_->weight_bytes()) - (config_.tie_word_embeddings ? 0 : table);
}

double BenchModel::kv_bytes(int32_t batch, int32_t context) const {
  return 1.0 * batch * context * static_cast<double>(layout_.TokenBytes());
}

BatchInput BenchModel::MakeInput(int32_t batch, int32_t context) const {
  BatchInput input;
  const int32_t each = layout_.BlocksFor(context);
  input.counts = {.tokens = batch, .sequences = batch, .logit_rows = batch};
  input.num_classes = 1;
  input.q_start = {0};
  input.tables[0].start = {0};
  for (int32_t s = 0; s < batch; ++s) {
    input.token_ids.push_back((7919 * s + 1) % config_.vocab_size);
    input.positions.push_back(context - 1);
    input.q_start.push_back(s + 1);
    input.kv_len.push_back(context);
    input.tables[0].start.push_back((s + 1) * each);
    input.logit_rows.push_back(s);
    input.sampling.push_back({});
  }
  input.tables[0].offsets.assign(blocks_.begin(), blocks_.begin() + int64_t{batch} * each);
  for (BlockTables& tables : std::span(input.tables).subspan(1)) tables.start = {0};
  return input;
}

void BenchModel::Complete(Timing* timing) {
  const auto sampled = runner_->Complete();
  QUIRE_CHECK(sampled.ok()) << sampled.status().ToString();
  for (const kernels::SampledToken& token : *sampled) {
    timing->finite = timing->finite && token.token_id >= 0;
  }
}

BenchModel::Timing BenchModel::Decode(int32_t batch, int32_t context) {
  using Clock = std::chrono::steady_clock;
  using Micros = std::chrono::duration<double, std::micro>;
  BatchInput input = MakeInput(batch, context);
  Timing timing;
  std::vector<double> steps, host;
  Clock::time_point last;
  for (int i = 0; i <= kWarmUps + kSteps; ++i) {
    input.step = StepId(input.step.value() + 1);
    const Clock::time_point begin = Clock::now();
    absl::Status status = runner_->LaunchForward(input);
    if (status.ok()) status = runner_->LaunchSample(input);
    QUIRE_CHECK(status.ok()) << status.ToString();
    const Clock::time_point launched = Clock::now();
    if (i > 0) Complete(&timing);
    const Clock::time_point now = Clock::now();
    if (i > kWarmUps) {
      host.push_back(Micros(launched - begin).count());
      steps.push_back(Micros(now - last).count());
    }
    last = now;
  }
  Complete(&timing);
  timing.step_micros = Median(steps);
  timing.host_micros = Median(host);
  return timing;
}

}  // namespace quire::bench
