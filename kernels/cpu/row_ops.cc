#include <algorithm>
#include <limits>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/packed_weights.h"

namespace quire::kernels {
namespace {

// Handing an item to another thread costs about as much as working on this many floats.
constexpr int64_t kFloatsPerItem = 8192;

// The sequence whose tokens include `token`.
int32_t SequenceOf(const BatchView& batch, int32_t token) {
  const int32_t* end = batch.q_start + batch.counts->sequences + 1;
  return static_cast<int32_t>(std::upper_bound(batch.q_start, end, token) - batch.q_start) - 1;
}

void CheckRopeShape(const RopeWriteKvParams& params) {
  const KvLayerView& kv = params.kv;
  KERNELS_CHECK(kv.dtype == params.act || kv.dtype == DType::kInt8);
  KERNELS_CHECK(kv.head_dim % kHeadDimUnit == 0);
  KERNELS_CHECK(kv.head_dim > 0 && kv.head_dim <= kMaxHeadDim);
  KERNELS_CHECK(params.rotary_dim >= 0 && params.rotary_dim <= kv.head_dim);
  KERNELS_CHECK(params.rotary_dim % 2 == 0);
  KERNELS_CHECK((params.q_norm == nullptr) == (params.k_norm == nullptr));
}

}  // namespace

template <typename Body>
void CpuOps::ForRows(int32_t rows, int64_t floats_a_row, Body&& body) {
  const int64_t rows_an_item =
      std::max<int64_t>(1, kFloatsPerItem / std::max<int64_t>(1, floats_a_row));
  const int64_t items = (rows + rows_an_item - 1) / rows_an_item;
  pool_->ParallelFor(items, [&](int64_t item, int) {
    const int64_t end = std::min<int64_t>((item + 1) * rows_an_item, rows);
    for (int64_t row = item * rows_an_item; row < end; ++row) body(row);
  });
}

void CpuOps::Embed(const EmbedParams& params) {
  const auto& table = static_cast<const CpuPackedWeights&>(*params.table);
  ForRows(params.batch->counts->tokens, table.cols(), [&](int64_t token) {
    int32_t id = params.batch->token_ids[token];
    if (id < 0) id = params.previous[-1 - id].token_id;
    float* out = params.out + token * table.cols();
    if (id < 0) {  // the step before failed to sample: so does what follows from it
      std::fill_n(out, table.cols(), std::numeric_limits<float>::quiet_NaN());
      return;
    }
    KERNELS_CHECK(id < table.rows());
    table.ReadRow(id, out);
    if (params.scale != 1) {
      for (int64_t i = 0; i < table.cols(); ++i) out[i] *= params.scale;
    }
  });
}

void CpuOps::RmsNorm(const RmsNormParams& params) {
  const BatchCounts& counts = *params.batch->counts;
  const int32_t rows = params.logit_rows_only ? counts.logit_rows : counts.tokens;
  const auto kernel = Kernels(params.act).rms_norm;
  ForRows(rows, params.width, [&](int64_t row) {
    const int64_t from = params.logit_rows_only ? params.batch->logit_rows[row] : row;
    KERNELS_CHECK(from >= 0 && from < counts.tokens);
    auto* out = static_cast<std::byte*>(params.out) +
                static_cast<size_t>(row * params.width) * DTypeBytes(params.act);
    kernel(params.x + from * params.width, params.weight, params.eps, params.width, out);
  });
}

void CpuOps::AddRmsNorm(const AddRmsNormParams& params) {
  ForRows(params.batch->counts->tokens, 2 * params.width, [&](int64_t row) {
    const int64_t start = row * params.width;
    kernels_.add_rms_norm(params.x + start, params.weight, params.eps, params.width,
                          params.residual + start);
  });
}

void CpuOps::RopeWriteKv(const RopeWriteKvParams& params) {
  const BatchView& batch = *params.batch;
  const KvLayerView& kv = params.kv;
  CheckRopeShape(params);
  KERNELS_CHECK(kv.cache_class >= 0 && kv.cache_class < batch.num_classes);
  const BlockTablesView& tables = batch.tables[kv.cache_class];
  const int64_t q_width = static_cast<int64_t>(params.num_heads) * kv.head_dim;
  const int64_t width = q_width + 2 * static_cast<int64_t>(kv.kv_groups) * kv.head_dim;
  const ElementKernels& kernels = Kernels(params.act);
  const auto kernel = kv.dtype == DType::kInt8 ? kernels.rope_int8 : kernels.rope;
  ForRows(batch.counts->tokens, width, [&](int64_t token) {
    const int32_t sequence = SequenceOf(batch, static_cast<int32_t>(token));
    const int32_t position = batch.positions[token];
    const int32_t entry = tables.start[sequence] + position / kv.block_tokens;
    KERNELS_CHECK(position >= 0 && entry < tables.start[sequence + 1]);
    const uint32_t block = tables.offsets[entry];
    auto* q_out = static_cast<std::byte*>(params.q_out) +
                  static_cast<size_t>(token * q_width) * DTypeBytes(params.act);
    RopeTask task{};
    task.qkv = params.qkv + token * width;
    task.q_norm = params.q_norm;
    task.k_norm = params.k_norm;
    task.norm_eps = params.norm_eps;
    task.rotary_dim = params.rotary_dim;
    task.cos_sin = params.cos_sin + static_cast<int64_t>(position) * params.rotary_dim;
    task.q_out = q_out;
    task.k = kv.KTile(block, 0);
    task.v = kv.VTile(block, 0);
    task.tile_bytes = kv.TileBytes();
    task.num_heads = params.num_heads;
    task.kv_groups = kv.kv_groups;
    task.head_dim = kv.head_dim;
    task.block_tokens = kv.block_tokens;
    task.slot = position % kv.block_tokens;
    if (kv.dtype == DType::kInt8) {
      task.scales = reinterpret_cast<float*>(kv.Scales(block, 0)) + task.slot;
    }
    kernel(task);
  });
}

void CpuOps::GateMul(const GateMulParams& params) {
  const ElementKernels& kernels = Kernels(params.act);
  const auto kernel = params.kind == GateKind::kSilu ? kernels.silu_mul : kernels.gelu_tanh_mul;
  const int64_t width = params.width;
  ForRows(params.batch->counts->tokens, 2 * width, [&](int64_t row) {
    auto* out = static_cast<std::byte*>(params.out) +
                static_cast<size_t>(row * width) * DTypeBytes(params.act);
    const float* gate = params.gate_up + row * 2 * width;
    kernel(gate, gate + width, width, out);
  });
}

void CpuOps::SoftCap(const SoftCapParams& params) {
  KERNELS_CHECK(params.cap > 0);
  const int64_t vocab = params.vocab;
  const int64_t parts = (vocab + kFloatsPerItem - 1) / kFloatsPerItem;
  pool_->ParallelFor(params.batch->counts->logit_rows * parts, [&](int64_t item, int) {
    const int64_t begin = item % parts * kFloatsPerItem;
    float* row = params.logits + item / parts * vocab;
    kernels_.soft_cap(row + begin, std::min(kFloatsPerItem, vocab - begin), params.cap);
  });
}

}  // namespace quire::kernels
