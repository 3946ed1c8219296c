#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/tier/row_tiles.h"

namespace quire::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;

static_assert(kSplitTokens == kAttentionSplit && kAttentionSplit % kAttentionChunk == 0);
static_assert(kTierHeadDim == kMaxHeadDim);

void CheckShape(const PagedAttentionParams& params) {
  const KvLayerView& kv = params.kv;
  KERNELS_CHECK(kv.dtype == params.act);
  KERNELS_CHECK(kv.head_dim > 0 && kv.head_dim % kHeadDimUnit == 0 && kv.head_dim <= kMaxHeadDim);
  KERNELS_CHECK(kv.block_tokens > 0 && kv.block_tokens % 16 == 0 &&
                kAttentionSplit % kv.block_tokens == 0);
  KERNELS_CHECK(kv.kv_groups > 0 && params.num_heads % kv.kv_groups == 0);
  KERNELS_CHECK(params.window >= 0 && params.softcap >= 0);
  KERNELS_CHECK(kv.cache_class >= 0 && kv.cache_class < params.batch->num_classes);
  const BatchView& batch = *params.batch;
  const int32_t* start = batch.tables[kv.cache_class].start;
  for (int32_t s = 0; s < batch.counts->sequences; ++s) {
    const int64_t table = start[s + 1] - start[s];
    KERNELS_CHECK(table * kv.block_tokens >= batch.kv_len[s]);
  }
}

}  // namespace

// Cuts every sequence into tiles of rows. An item reads the KV from the window of its first row up
// to its last row, so cost is rows times that; the long ones come first, so that none is left for
// the end.
const CpuOps::AttentionPlan& CpuOps::PlanAttention(const BatchView& batch, int32_t q_per_group,
                                                   int32_t window) {
  for (size_t i = 0; i < plans_used_; ++i) {
    const AttentionPlan& plan = plans_[i];
    if (plan.q_per_group == q_per_group && plan.window == window) return plan;
  }
  if (plans_used_ == plans_.size()) plans_.emplace_back();
  AttentionPlan& plan = plans_[plans_used_++];
  plan.q_per_group = q_per_group;
  plan.window = window;
  plan.items.clear();
  for (int32_t s = 0; s < batch.counts->sequences; ++s) {
    const int32_t q_len = batch.q_start[s + 1] - batch.q_start[s];
    const RowTiles tiles(q_len * q_per_group, kAttentionRows);
    for (int32_t tile = 0; tile < tiles.tiles; ++tile) {
      const int32_t rows = tiles.Count(tile);
      const int32_t last_token = (tiles.Begin(tile) + rows - 1) / q_per_group;
      const int64_t kv_end = batch.kv_len[s] - q_len + last_token + 1;
      const int64_t seen_by_first = kv_end - (last_token - tiles.Begin(tile) / q_per_group);
      const int64_t kv_begin = window == 0 ? 0 : std::max<int64_t>(0, seen_by_first - window);
      plan.items.push_back({(kv_end - kv_begin) * rows, s, tiles.Begin(tile), rows});
    }
  }
  std::sort(plan.items.begin(), plan.items.end(),
            [](const AttentionItem& a, const AttentionItem& b) { return a.cost > b.cost; });
  return plan;
}

void CpuOps::PagedAttention(const PagedAttentionParams& params) {
  CheckShape(params);
  const BatchView& batch = *params.batch;
  const KvLayerView& kv = params.kv;
  const int32_t q_per_group = params.num_heads / kv.kv_groups;
  const BlockTablesView& tables = batch.tables[kv.cache_class];
  const AttentionPlan& plan = PlanAttention(batch, q_per_group, params.window);
  const auto kernel = Kernels(params.act).attention;
  const size_t head_bytes = static_cast<size_t>(kv.head_dim) * DTypeBytes(params.act);

  // With a cap, tanh is taken of scores in units of it; only then come the powers of two.
  const bool capped = params.softcap > 0;

  const auto items = static_cast<int64_t>(plan.items.size()) * kv.kv_groups;
  pool_->ParallelFor(items, [&](int64_t index, int worker) {
    const AttentionItem& item = plan.items[static_cast<size_t>(index / kv.kv_groups)];
    const auto group = static_cast<int32_t>(index % kv.kv_groups);
    const int32_t first_token = batch.q_start[item.sequence];
    const int32_t q_len = batch.q_start[item.sequence + 1] - first_token;
    const size_t first_head =
        (static_cast<size_t>(first_token) * static_cast<size_t>(params.num_heads) +
         static_cast<size_t>(group) * static_cast<size_t>(q_per_group)) *
        head_bytes;
    AttentionTask task{};
    task.q = static_cast<const std::byte*>(params.q) + first_head;
    task.out = static_cast<std::byte*>(params.out) + first_head;
    task.num_heads = params.num_heads;
    task.q_per_group = q_per_group;
    task.head_dim = kv.head_dim;
    task.row_begin = item.row_begin;
    task.rows = item.rows;
    task.first_position = batch.kv_len[item.sequence] - q_len;
    task.window = params.window;
    task.score_scale = capped ? params.scale / params.softcap : params.scale * kLog2E;
    task.cap_log2 = params.softcap * kLog2E;
    task.blocks = tables.offsets + tables.start[item.sequence];
    task.offset_unit = kKvOffsetUnit;
    task.k = kv.KTile(0, group);
    task.v = kv.VTile(0, group);
    task.block_tokens = kv.block_tokens;
    kernel(task, *attention_scratch_[static_cast<size_t>(worker)]);
  });
}

}  // namespace quire::kernels
