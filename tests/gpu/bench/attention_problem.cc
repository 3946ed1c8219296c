#include "tests/gpu/bench/attention_problem.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "kernels/cuda/kernel_table.h"
#include "tests/gpu/bench/random_values.h"

namespace quire::bench {
namespace {

using kernels::Bf16ToFloat;
using kernels::DType;
using namespace kernels::cuda;

constexpr double kRotation = 512.0 * (1 << 20);  // more than any cache holds
constexpr int32_t kMostLayers = 2048;
constexpr double kMemoryShare = 0.8;
constexpr uint64_t kKvSeed = 1, kQSeed = 2;

AttentionVariant Variant(const AttentionCase& shape, int32_t tile) {
  return {.act = DType::kBF16, .fp8_kv = shape.fp8_kv, .head_dim = shape.head_dim, .tile = tile};
}

void Prepare(const KernelEntry& entry, int32_t shared_bytes) {
  Must(cudaFuncSetAttribute(entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                            shared_bytes),
       "asking for shared memory");
}

// As CudaOps asks the runtime.
int32_t ResidentBlocks(const AttentionCase& shape) {
  const AttentionVariant variant = Variant(shape, 0);
  const KernelEntry entry = GpuKernels().attention(variant);
  const int32_t shared_bytes = AttentionSharedBytes(variant, false);
  Prepare(entry, shared_bytes);
  int each = 0, multiprocessors = 0;
  Must(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, entry.function, entry.threads,
                                                     static_cast<size_t>(shared_bytes)),
       "asking for resident blocks");
  Must(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0),
       "asking for multiprocessors");
  return std::max(each, 1) * multiprocessors;
}

void Launch(const KernelEntry& entry, const LaunchShape& shape, const AttentionArgs& args,
            cudaStream_t stream) {
  void* arguments[] = {const_cast<AttentionArgs*>(&args)};
  Must(cudaLaunchKernel(
           entry.function,
           dim3(static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y)),
           dim3(static_cast<unsigned>(entry.threads)), arguments,
           static_cast<size_t>(shape.shared_bytes), stream),
       "launching attention");
}

double Number(uint64_t seed, size_t index) { return Bf16ToFloat(RandomBf16(seed, index)); }

}  // namespace

double AttentionCase::Flops() const {
  const double first = context - queries + 1;
  const double pairs = 0.5 * queries * (first + context) * batch;
  return 4 * pairs * heads * head_dim;
}

bool AttentionProblem::Fits(const AttentionCase& shape) {
  const double q = 2.0 * shape.batch * shape.queries * shape.heads * shape.head_dim;
  return shape.KvBytes() + 4 * q < kMemoryShare * static_cast<double>(FreeGpuBytes());
}

kernels::KvLayerView AttentionProblem::Layer() const {
  return {.block_tokens = kBlockTokens,
          .kv_groups = shape_.groups,
          .head_dim = shape_.head_dim,
          .dtype = shape_.fp8_kv ? DType::kF8E4M3 : DType::kBF16};
}

size_t AttentionProblem::LayerBytes() const {
  constexpr size_t kUnit = kernels::kKvOffsetUnit;
  return (Layer().LayerBytes() + kUnit - 1) / kUnit * kUnit;
}

AttentionProblem::AttentionProblem(const AttentionCase& shape, cudaStream_t stream)
    : shape_(shape), stream_(stream) {
  layers_ = static_cast<int32_t>(std::clamp(kRotation / shape.KvBytes(), 1.0, 1.0 * kMostLayers));
  const int32_t blocks = shape_.batch * BlocksEach();
  const auto units = static_cast<uint32_t>(BlockBytes() / kernels::kKvOffsetUnit);
  for (int32_t i = 0; i < blocks; ++i) table_.push_back(static_cast<uint32_t>(i) * units);
  std::mt19937 random(1);
  std::shuffle(table_.begin(), table_.end(), random);
  for (int32_t i = 0; i <= shape_.batch; ++i) {
    q_start_.push_back(i * shape_.queries);
    table_start_.push_back(i * BlocksEach());
    if (i < shape_.batch) kv_len_.push_back(shape_.context);
  }
  MakeArgs();
  MakePlan();
  Must(cudaStreamSynchronize(stream_), "filling memory");
}

void AttentionProblem::MakeArgs() {
  const auto keep = [&](auto&& values) {
    memory_.push_back(std::make_unique<GpuMemory>(values));
    return memory_.back()->data();
  };
  const size_t q_elements = static_cast<size_t>(q_start_.back()) *
                            static_cast<size_t>(shape_.heads) *
                            static_cast<size_t>(shape_.head_dim);
  KvArena arena = {.layer = Layer(),
                   .blocks = table_.size(),
                   .block_bytes = BlockBytes(),
                   .layers = static_cast<size_t>(layers_),
                   .layer_stride = LayerBytes()};
  args_.q_start = reinterpret_cast<const int32_t*>(keep(q_start_));
  args_.kv_len = reinterpret_cast<const int32_t*>(keep(kv_len_));
  args_.table_start = reinterpret_cast<const int32_t*>(keep(table_start_));
  args_.table = reinterpret_cast<const uint32_t*>(keep(table_));
  std::byte* const q = keep(2 * q_elements);
  FillRandom(q, q_elements, kQSeed, stream_);
  args_.q = q;
  args_.out = keep(2 * q_elements);
  arena.layer.base = keep(arena.blocks * arena.block_bytes);
  FillRandomKv(arena, kKvSeed, stream_);
  args_.kv = arena.layer.base;
  args_.tile_bytes = static_cast<uint32_t>(arena.layer.TileBytes());
  args_.v_offset = args_.tile_bytes * static_cast<uint32_t>(shape_.groups);
  args_.scale_offset = static_cast<uint32_t>(arena.layer.ScaleOffset());
  args_.num_heads = shape_.heads;
  args_.groups = shape_.groups;
  args_.head_dim = shape_.head_dim;
  args_.block_shift = std::countr_zero(static_cast<uint32_t>(kBlockTokens));
  // Sharper than a model's, so that a wrong probability is seen.
  args_.scale = 8 / std::sqrt(static_cast<float>(shape_.head_dim));
}

void AttentionProblem::MakePlan() {
  const AttentionPlanOptions options = {.q_per_group = shape_.heads / shape_.groups,
                                        .groups = shape_.groups,
                                        .head_dim = shape_.head_dim,
                                        .resident_blocks = ResidentBlocks(shape_)};
  AttentionPlan plan(options);
  plan.Make(q_start_, kv_len_);
  header_ = plan.header();
  const AttentionPlanCapacity room =
      PlanCapacity({q_start_.back(), shape_.batch, 0, shape_.batch}, options);
  const size_t rows = static_cast<size_t>(room.slots) * static_cast<size_t>(shape_.groups) *
                      static_cast<size_t>(kPartialRows);
  const auto keep = [&](auto&& values) {
    memory_.push_back(std::make_unique<GpuMemory>(values));
    return memory_.back()->data();
  };
  args_.header =
      reinterpret_cast<const AttentionHeader*>(keep(std::vector<AttentionHeader>{header_}));
  std::vector<std::byte> lists(plan.ListBytes());
  plan.WriteLists(lists.data());
  args_.items = reinterpret_cast<const AttentionItem*>(keep(lists));
  args_.partial_out =
      reinterpret_cast<float*>(keep(sizeof(float) * rows * static_cast<size_t>(shape_.head_dim)));
  args_.partial_lse = reinterpret_cast<float*>(keep(sizeof(float) * rows));
}

void AttentionProblem::Enqueue(int32_t layer) const {
  AttentionArgs args = args_;
  args.kv += static_cast<size_t>(layer) * LayerBytes();
  for (int32_t tile = 0; tile < kAttentionTiles; ++tile) {
    if (header_.item_count[tile] == 0) continue;
    const AttentionVariant variant = Variant(shape_, tile);
    const KernelEntry entry = GpuKernels().attention(variant);
    Prepare(entry, AttentionSharedBytes(variant, false));
    Launch(entry, AttentionLaunch(variant, false, header_.item_count[tile], shape_.groups), args,
           stream_);
  }
  if (header_.merge_count > 0) {
    const int32_t rows = std::min(shape_.queries * (shape_.heads / shape_.groups), kPartialRows);
    Launch(GpuKernels().attention_merge(DType::kBF16),
           AttentionMergeLaunch(header_.merge_count, rows, shape_.groups, shape_.head_dim), args,
           stream_);
  }
}

double AttentionProblem::KvElement(int32_t token, bool is_v, size_t i) const {
  const uint32_t offset =
      table_[static_cast<size_t>(table_start_.back() - BlocksEach() + token / kBlockTokens)];
  const int32_t group = (is_v ? 2 : 1) * shape_.groups - 1;
  const auto row = static_cast<size_t>(group * kBlockTokens + token % kBlockTokens);
  const size_t byte = offset * kernels::kKvOffsetUnit;
  const size_t in_layer = row * static_cast<size_t>(shape_.head_dim) + i;
  if (!shape_.fp8_kv) return Number(kKvSeed, byte / 2 + in_layer);
  const auto rows = static_cast<size_t>(2 * shape_.groups * kBlockTokens);
  const float scale = RandomScale(kKvSeed, byte / BlockBytes() * rows + row);
  return 1.0 * scale * Fp8ToFloat(RandomFp8(kKvSeed, byte + in_layer));
}

// Of the last head of the last query, which sees everything.
std::vector<double> AttentionProblem::ExactRow() const {
  const auto dim = static_cast<size_t>(shape_.head_dim);
  const size_t q =
      (static_cast<size_t>(q_start_.back()) * static_cast<size_t>(shape_.heads) - 1) * dim;
  std::vector<double> out(dim);
  double sum = 0;
  for (int32_t t = 0; t < shape_.context; ++t) {
    double score = 0;
    for (size_t i = 0; i < dim; ++i) score += Number(kQSeed, q + i) * KvElement(t, false, i);
    const double p = std::exp(score * args_.scale);
    sum += p;
    for (size_t i = 0; i < dim; ++i) out[i] += p * KvElement(t, true, i);
  }
  for (double& x : out) x /= sum;
  return out;
}

double AttentionProblem::Error() const {
  const size_t out_bytes = 2 * static_cast<size_t>(q_start_.back()) *
                           static_cast<size_t>(shape_.heads) * static_cast<size_t>(shape_.head_dim);
  std::vector<uint16_t> row(static_cast<size_t>(shape_.head_dim));
  Must(cudaMemsetAsync(args_.out, 0xff, out_bytes, stream_), "poisoning the output");
  Enqueue(0);
  const auto* const last = static_cast<const std::byte*>(args_.out) + out_bytes - 2 * row.size();
  Must(cudaMemcpyAsync(row.data(), last, 2 * row.size(), cudaMemcpyDeviceToHost, stream_),
       "a copy from the GPU");
  Must(cudaStreamSynchronize(stream_), "attention");
  const std::vector<double> exact = ExactRow();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    difference += std::pow(Bf16ToFloat(row[i]) - exact[i], 2);
    norm += exact[i] * exact[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace quire::bench
