#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/tier/row_tiles.h"

namespace quire::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;

// Pieces of about equal cost, so that a worker that is held up leaves the rest to the others.
constexpr int64_t kPiecesPerWorker = 4;

// Of the partial results of tiles that are cut: 16 MiB at most.
constexpr int64_t kPartialRowFloats = kMaxHeadDim + 2;
constexpr int64_t kMaxPartialRows = (int64_t{16} << 20) / (kPartialRowFloats * sizeof(float));

static_assert(kSplitTokens == kAttentionSplit && kAttentionSplit % kAttentionChunk == 0);
static_assert(kTierHeadDim == kMaxHeadDim);

// That an item of so many rows in each may take.
int32_t MostGroups(int32_t rows, int32_t groups) { return std::min(groups, kAttentionRows / rows); }

void CheckShape(const PagedAttentionParams& params) {
  const KvLayerView& kv = params.kv;
  KERNELS_CHECK(kv.dtype == params.act || kv.dtype == DType::kInt8);
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
                                                   int32_t groups, int32_t window) {
  for (size_t i = 0; i < plans_used_; ++i) {
    const AttentionPlan& plan = plans_[i];
    if (plan.q_per_group == q_per_group && plan.groups == groups && plan.window == window) {
      return plan;
    }
  }
  if (plans_used_ == plans_.size()) plans_.emplace_back();
  AttentionPlan& plan = plans_[plans_used_++];
  plan.q_per_group = q_per_group;
  plan.groups = groups;
  plan.window = window;
  plan.tiles.clear();
  for (int32_t s = 0; s < batch.counts->sequences; ++s) {
    const int32_t q_len = batch.q_start[s + 1] - batch.q_start[s];
    const RowTiles tiles(q_len * q_per_group, kAttentionRows);
    for (int32_t tile = 0; tile < tiles.tiles; ++tile) {
      const int32_t rows = tiles.Count(tile);
      const int32_t last_token = (tiles.Begin(tile) + rows - 1) / q_per_group;
      const int32_t kv_end = batch.kv_len[s] - q_len + last_token + 1;
      const int32_t seen_by_first = kv_end - (last_token - tiles.Begin(tile) / q_per_group);
      const int32_t kv_begin = window == 0 ? 0 : std::max(0, seen_by_first - window);
      plan.tiles.push_back({.cost = int64_t{kv_end - kv_begin} * rows,
                            .sequence = s,
                            .row_begin = tiles.Begin(tile),
                            .rows = rows,
                            .split_begin = kv_begin / kSplitTokens * kSplitTokens,
                            .split_end = kv_end});
    }
  }
  const int64_t most = MostCost(plan);
  CutLongTiles(most, &plan);
  TakeGroups(plan.tiles, plan.groups, most, &plan.items);
  TakeGroups(plan.cut, plan.groups, most, &plan.merges);
  std::sort(plan.items.begin(), plan.items.end(),
            [](const AttentionItem& a, const AttentionItem& b) { return a.cost > b.cost; });
  return plan;
}

// Of an item, so that all workers are busy to the end.
int64_t CpuOps::MostCost(const AttentionPlan& plan) const {
  int64_t total = 0;
  for (const AttentionItem& tile : plan.tiles) total += tile.cost;
  total *= plan.groups;
  if (pool_->size() == 1) return total;
  return std::max<int64_t>(1, total / (pool_->size() * kPiecesPerWorker));
}

// An item takes as many groups as its working memory has room for: they lie side by side in a
// block, which is read in one go then. Where that is too much for one item, long tiles become
// pieces first, as for one long sequence.
void CpuOps::CutLongTiles(int64_t most, AttentionPlan* plan) {
  plan->cut.clear();
  plan->partial_rows = 0;
  if (pool_->size() == 1) return;
  const size_t tiles = plan->tiles.size();
  for (size_t i = 0; i < tiles; ++i) {
    const AttentionItem tile = plan->tiles[i];
    const int32_t splits = (tile.split_end - tile.split_begin + kSplitTokens - 1) / kSplitTokens;
    const int64_t cost = tile.cost * MostGroups(tile.rows, plan->groups);
    const auto pieces = static_cast<int32_t>(std::min<int64_t>(splits, cost / most));
    const int64_t partial_rows = plan->partial_rows + int64_t{splits} * tile.rows;
    if (pieces < 2 || partial_rows * plan->groups > kMaxPartialRows) continue;
    if (!attention_partials_.Reserve(kMaxPartialRows * kPartialRowFloats * sizeof(float))) return;
    AttentionItem piece = tile;
    piece.cost = tile.cost / pieces;
    piece.splits = splits;
    piece.partial_rows = plan->partial_rows;
    plan->partial_rows = partial_rows;
    plan->cut.push_back(piece);
    for (int32_t p = 0; p < pieces; ++p) {
      piece.split_begin = tile.split_begin + splits * p / pieces * kSplitTokens;
      piece.split_end = tile.split_begin + splits * (p + 1) / pieces * kSplitTokens;
      if (p == 0) {
        plan->tiles[i] = piece;
      } else {
        plan->tiles.push_back(piece);
      }
    }
  }
}

// Items for all groups, of tiles for one.
void CpuOps::TakeGroups(const std::vector<AttentionItem>& tiles, int32_t groups, int64_t most,
                        std::vector<AttentionItem>* items) {
  items->clear();
  for (const AttentionItem& tile : tiles) {
    const auto taken = static_cast<int32_t>(std::clamp<int64_t>(
        most / std::max<int64_t>(tile.cost, 1), 1, MostGroups(tile.rows, groups)));
    for (int32_t group = 0; group < groups; group += taken) {
      AttentionItem& item = items->emplace_back(tile);
      item.group_begin = group;
      item.groups = std::min(taken, groups - group);
      item.cost = tile.cost * item.groups;
    }
  }
}

void CpuOps::PagedAttention(const PagedAttentionParams& params) {
  CheckShape(params);
  const int32_t groups = params.kv.kv_groups;
  const AttentionPlan& plan =
      PlanAttention(*params.batch, params.num_heads / groups, groups, params.window);
  const ElementKernels& kernels = Kernels(params.act);
  const auto kernel = params.kv.dtype == DType::kInt8 ? kernels.attention_int8 : kernels.attention;
  const auto run = [&](const std::vector<AttentionItem>& items, AttentionPart cut) {
    pool_->ParallelFor(static_cast<int64_t>(items.size()), [&](int64_t index, int worker) {
      kernel(TaskOf(params, items[static_cast<size_t>(index)], cut),
             *attention_scratch_[static_cast<size_t>(worker)]);
    });
  };
  run(plan.items, AttentionPart::kSplits);
  if (!plan.merges.empty()) run(plan.merges, AttentionPart::kMerge);
}

// `cut` is what is done where the item is a tile that has been cut.
AttentionTask CpuOps::TaskOf(const PagedAttentionParams& params, const AttentionItem& item,
                             AttentionPart cut) const {
  const BatchView& batch = *params.batch;
  const KvLayerView& kv = params.kv;
  const int32_t q_per_group = params.num_heads / kv.kv_groups;
  const int32_t group = item.group_begin;
  const BlockTablesView& tables = batch.tables[kv.cache_class];
  const size_t head_bytes = static_cast<size_t>(kv.head_dim) * DTypeBytes(params.act);
  const int32_t first_token = batch.q_start[item.sequence];
  const int32_t q_len = batch.q_start[item.sequence + 1] - first_token;
  const size_t first_head =
      (static_cast<size_t>(first_token) * static_cast<size_t>(params.num_heads) +
       static_cast<size_t>(group) * static_cast<size_t>(q_per_group)) *
      head_bytes;
  // With a cap, tanh is taken of scores in units of it; only then come the powers of two.
  const bool capped = params.softcap > 0;
  AttentionTask task{};
  task.q = static_cast<const std::byte*>(params.q) + first_head;
  task.out = static_cast<std::byte*>(params.out) + first_head;
  task.num_heads = params.num_heads;
  task.q_per_group = q_per_group;
  task.head_dim = kv.head_dim;
  task.row_begin = item.row_begin;
  task.rows = item.rows;
  task.groups = item.groups;
  task.first_position = batch.kv_len[item.sequence] - q_len;
  task.window = params.window;
  task.score_scale = capped ? params.scale / params.softcap : params.scale * kLog2E;
  task.cap_log2 = params.softcap * kLog2E;
  task.blocks = tables.offsets + tables.start[item.sequence];
  task.offset_unit = kKvOffsetUnit;
  task.k = kv.KTile(0, group);
  task.v = kv.VTile(0, group);
  task.group_stride = kv.TileBytes();
  if (KvScaleBytes(kv.dtype) > 0) {
    task.k_scales = kv.Scales(0, group);
    task.v_scales = kv.Scales(0, kv.kv_groups + group);
  }
  task.block_tokens = kv.block_tokens;
  if (item.partial_rows >= 0) {
    task.part = cut;
    task.split_begin = item.split_begin;
    task.split_end = item.split_end;
    task.partials = attention_partials_.as<float>() +
                    (item.partial_rows * kv.kv_groups + int64_t{group} * item.splits * item.rows) *
                        (kv.head_dim + 2);
  }
  return task;
}

}  // namespace quire::kernels
