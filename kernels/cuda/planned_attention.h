#pragma once

#include <cstddef>
#include <memory>

#include "kernels/api/ops.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/gpu_buffer.h"

namespace quire::kernels::cuda {

// How many blocks the attention of one group is launched with.
struct AttentionGrid {
  int32_t items[kAttentionTiles] = {};  // by the size of the tile
  int32_t merges = 0;
  int32_t merge_rows = 0;  // of a merge at most
};

// The attention plan of the layers of one shape, where the kernels read it: made on the host every
// step and copied from pinned memory. Two pinned copies take turns, so that a step can be planned
// while the plan of the one before is still on its way.
class PlannedAttention {
 public:
  // OutOfMemory where there is no room for the largest plan.
  static DeviceStatus Create(GpuRuntime* runtime, const BatchCapacity& batch,
                             const AttentionPlanOptions& options,
                             std::unique_ptr<PlannedAttention>* planned);

  ~PlannedAttention();

  // Makes the step's plan and enqueues its copy. `capacity`: of the step, not above that of Create.
  void Upload(const BatchCapacity& capacity, const BatchHostView& batch);

  // What the step's plan is launched with.
  const AttentionGrid& StepGrid() const { return step_grid_; }
  // The same for the plans of all steps within a capacity that have one token a sequence: the tiles
  // of such steps are all of one size.
  AttentionGrid DecodeGrid(const BatchCapacity& capacity) const;

  const AttentionPlan& plan() const { return plan_; }
  const AttentionPlanCapacity& capacity() const { return capacity_; }
  size_t device_bytes() const { return device_.bytes(); }
  const AttentionHeader* header() const { return device_.as<const AttentionHeader>(); }
  const AttentionItem* items() const {
    return reinterpret_cast<const AttentionItem*>(device_.data() + kItemsOffset);
  }

 private:
  struct Staging {
    GpuBuffer memory;
    std::unique_ptr<Event> copied;
  };
  static constexpr size_t kItemsOffset = 64;
  static_assert(sizeof(AttentionHeader) <= kItemsOffset);

  PlannedAttention(GpuRuntime* runtime, const BatchCapacity& batch,
                   const AttentionPlanOptions& options);

  static AttentionGrid GridOf(const AttentionPlan& plan);
  int32_t DecodeTile() const;  // an index into kAttentionTileRows
  void CheckPlan(const BatchCapacity& capacity, const BatchHostView& batch) const;

  GpuRuntime* const runtime_;
  const AttentionPlanCapacity capacity_;
  AttentionPlan plan_;
  AttentionGrid step_grid_;
  GpuBuffer device_;  // header, and the plan's lists
  Staging staging_[2];
};

}  // namespace quire::kernels::cuda
