#include "kernels/cuda/planned_attention.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace quire::kernels::cuda {
namespace {

int32_t CeilDiv(int32_t a, int32_t b) { return (a + b - 1) / b; }

}  // namespace

PlannedAttention::PlannedAttention(GpuRuntime* runtime, const BatchCapacity& batch,
                                   const AttentionPlanOptions& options)
    : runtime_(runtime), capacity_(PlanCapacity(batch, options)), plan_(options) {}

PlannedAttention::~PlannedAttention() {
  for (const Staging& staging : staging_) {
    if (staging.copied != nullptr) staging.copied->Wait();
  }
}

DeviceStatus PlannedAttention::Create(GpuRuntime* runtime, const BatchCapacity& batch,
                                      const AttentionPlanOptions& options,
                                      std::unique_ptr<PlannedAttention>* planned) {
  std::unique_ptr<PlannedAttention> made(new PlannedAttention(runtime, batch, options));
  const AttentionPlanCapacity& room = made->capacity_;
  const size_t bytes = kItemsOffset + static_cast<size_t>(room.items) * sizeof(AttentionItem) +
                       static_cast<size_t>(room.merges) * sizeof(AttentionMerge);
  DeviceStatus status = made->device_.Allocate(runtime, GpuBuffer::Kind::kDevice, bytes);
  for (Staging& staging : made->staging_) {
    if (status.ok()) status = staging.memory.Allocate(runtime, GpuBuffer::Kind::kPinned, bytes);
  }
  if (status.ok()) *planned = std::move(made);
  return status;
}

int32_t PlannedAttention::DecodeTile() const {
  const AttentionPlanOptions& options = plan_.options();
  if (options.split > 0 || options.q_per_group <= kAttentionTileRows[0]) return 0;
  return options.q_per_group <= kAttentionTileRows[1] ? 1 : LargestAttentionTile(options.head_dim);
}

AttentionGrid PlannedAttention::GridOf(const AttentionPlan& plan) {
  AttentionGrid grid;
  std::copy_n(plan.header().item_count, kAttentionTiles, grid.items);
  grid.merges = plan.header().merge_count;
  for (const AttentionMerge& merge : plan.merges()) {
    grid.merge_rows = std::max(grid.merge_rows, merge.rows);
  }
  return grid;
}

// Cutting makes at most as many items more as run at the same time, or, with a split, as there are
// slots: see AttentionPlan. Surplus blocks cost time, in every layer.
AttentionGrid PlannedAttention::DecodeGrid(const BatchCapacity& capacity) const {
  const AttentionPlanOptions& options = plan_.options();
  const AttentionPlanCapacity most = PlanCapacity(capacity, options);
  const int32_t tile = DecodeTile();
  const int32_t tiles = capacity.sequences * CeilDiv(options.q_per_group, kAttentionTileRows[tile]);
  const int32_t cuts =
      options.split > 0 ? most.slots : CeilDiv(options.resident_blocks, options.groups);
  AttentionGrid grid;
  grid.items[tile] = std::min(most.items, tiles + cuts);
  grid.merges = std::min(most.merges, tiles);
  grid.merge_rows = std::min(options.q_per_group, kAttentionTileRows[tile]);
  return grid;
}

void PlannedAttention::CheckPlan(const BatchCapacity& capacity, const BatchHostView& batch) const {
  KERNELS_CHECK(plan_.items().size() <= static_cast<size_t>(capacity_.items));
  KERNELS_CHECK(plan_.merges().size() <= static_cast<size_t>(capacity_.merges));
  for (size_t i = 0; i < batch.q_start.size(); ++i) {
    if (batch.q_start[i] != static_cast<int32_t>(i)) return;
  }
  // A decode step: it may be run by a graph that was recorded in another.
  const AttentionGrid most = DecodeGrid(capacity);
  KERNELS_CHECK(step_grid_.merges <= most.merges && step_grid_.merge_rows <= most.merge_rows);
  for (int32_t tile = 0; tile < kAttentionTiles; ++tile) {
    KERNELS_CHECK(step_grid_.items[tile] <= most.items[tile]);
  }
}

void PlannedAttention::Upload(const BatchCapacity& capacity, const BatchHostView& batch) {
  plan_.Make(batch.q_start, batch.kv_len);
  step_grid_ = GridOf(plan_);
  CheckPlan(capacity, batch);
  std::swap(staging_[0], staging_[1]);
  Staging& staging = staging_[0];
  if (staging.copied != nullptr) staging.copied->Wait();
  std::byte* const to = staging.memory.data();
  std::memcpy(to, &plan_.header(), sizeof(AttentionHeader));
  plan_.WriteLists(to + kItemsOffset);
  runtime_->CopyToDevice(device_.data(), to, kItemsOffset + plan_.ListBytes());
  staging.copied = runtime_->RecordEvent();
}

}  // namespace quire::kernels::cuda
