#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/api/views.h"
#include "kernels/cuda/device/attention_args.h"

namespace quire::kernels::cuda {

// What the cut of a step's attention depends on besides the batch. Layers that agree in all of it
// share a plan.
struct AttentionPlanOptions {
  int32_t q_per_group = 1;
  int32_t groups = 1;
  int32_t head_dim = 128;
  int32_t window = 0;           // 0: none
  int32_t resident_blocks = 1;  // blocks of the 16-row kernel that the GPU runs at the same time
  // Batch invariance: one tile size, and a row's softmax restarts at absolute multiples of `split`
  // (itself one of kAttentionKvUnit) whatever the plan, so that its bits follow from its own
  // sequence alone. 0: cut as the load asks.
  int32_t split = 0;
};

// Sizes of the buffers that hold any plan of batches within a capacity.
struct AttentionPlanCapacity {
  int32_t items = 0;
  int32_t merges = 0;
  int32_t slots = 0;  // of kPartialRows rows, for each group
};
AttentionPlanCapacity PlanCapacity(const BatchCapacity& batch, const AttentionPlanOptions& options);

// The cut of a step's attention into tiles and ranges of KV. Reused from step to step: allocates
// nothing once its largest plan has been made.
class AttentionPlan {
 public:
  explicit AttentionPlan(const AttentionPlanOptions& options) : options_(options) {}

  // Host copies of the batch: q_start [sequences + 1], kv_len [sequences]. A pure function of these
  // and the options.
  void Make(std::span<const int32_t> q_start, std::span<const int32_t> kv_len);

  const AttentionHeader& header() const { return header_; }
  const std::vector<AttentionItem>& items() const { return items_; }  // longest first in each size
  const std::vector<AttentionMerge>& merges() const { return merges_; }
  const AttentionPlanOptions& options() const { return options_; }

  // The items and, right behind them, the merges, as the kernels read them.
  size_t ListBytes() const;
  void WriteLists(std::byte* to) const;

 private:
  // All rows of a tile and the KV that any of them sees.
  struct Tile {
    int32_t sequence;
    int32_t size;  // index into kAttentionTileRows
    int32_t row_begin;
    int32_t rows;
    int32_t kv_begin;
    int32_t kv_end;
  };

  void CollectTiles(std::span<const int32_t> q_start, std::span<const int32_t> kv_len);
  int32_t LargeTile(std::span<const int32_t> q_start) const;
  // Tokens a range at most.
  int32_t ChooseRange() const;
  struct Need {
    int64_t ranges = 0;
    int64_t slots = 0;
  };
  Need Needs(int32_t range) const;
  void EmitTile(const Tile& tile, int32_t range);
  void SortItems(int32_t begin);

  AttentionPlanOptions options_;
  AttentionHeader header_ = {};
  std::vector<Tile> tiles_;
  std::vector<AttentionItem> items_;
  std::vector<AttentionMerge> merges_;
  int32_t slots_ = 0;
};

}  // namespace quire::kernels::cuda
