#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/api/ops.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/tier/tier_kernels.h"
#include "kernels/cpu/token_choice.h"

namespace quire::kernels {

// The operations of the CPU device: each cuts its work into independent items, shares them out to
// the pool and returns when they are done. Which worker takes an item never changes a result.
// One source file for each family of operations.
class CpuOps final : public Ops {
 public:
  CpuOps(ThreadPool* pool, const TierKernels& kernels);

  // Makes room for the activations that are multiplied with them, so that a step need not.
  [[nodiscard]] bool ReserveForLinear(const CpuPackedWeights& weights);
  const DeviceStatus& error() const { return error_; }

  // Plans and scratch grow with the first steps.
  DeviceStatus Prepare(const PrepareParams&) override { return DeviceStatus(); }
  void BeginStep(const BatchView& batch, const BatchHostView& host) override;
  void Embed(const EmbedParams& params) override;
  void RmsNorm(const RmsNormParams& params) override;
  void AddRmsNorm(const AddRmsNormParams& params) override;
  void Linear(const LinearParams& params) override;
  void RopeWriteKv(const RopeWriteKvParams& params) override;
  void PagedAttention(const PagedAttentionParams& params) override;
  void GateMul(const GateMulParams& params) override;
  void SoftCap(const SoftCapParams& params) override;
  void Sample(const SampleParams& params) override;

 private:
  struct AttentionItem {
    int64_t cost = 0;
    int32_t sequence = 0;
    int32_t row_begin = 0;  // in rows of (query token x head in group)
    int32_t rows = 0;       // of each group
    int32_t group_begin = 0;
    int32_t groups = 0;
    int32_t split_begin = 0;  // the KV tokens of its splits
    int32_t split_end = 0;
    // Of a piece of a tile: where the tile's partial results begin, counted in rows of one group,
    // and how many splits it has. -1: the item is a whole tile.
    int64_t partial_rows = -1;
    int32_t splits = 0;
  };
  // The cut of a step's attention, longest item first.
  struct AttentionPlan {
    int32_t q_per_group = 0;
    int32_t groups = 0;
    int32_t window = 0;
    std::vector<AttentionItem> tiles;  // of one group: whole, or cut into pieces
    std::vector<AttentionItem> cut;    // those that were cut, whole
    int64_t partial_rows = 0;          // of one group
    std::vector<AttentionItem> items;  // of both, for all groups
    std::vector<AttentionItem> merges;
  };

  const ElementKernels& Kernels(DType act) const;
  template <typename Body>
  void ForRows(int32_t rows, int64_t floats_a_row, Body&& body);
  void DenseLinear(const LinearParams& params, const CpuPackedWeights& weights);
  void QuantLinear(const LinearParams& params, const CpuPackedWeights& weights);
  template <class Scratch>
  [[nodiscard]] bool ReserveScratch(std::vector<std::unique_ptr<Scratch>>* scratch);
  // How rows are packed for integer weights, unless they are few.
  RowPacking ManyQuantRows() const {
    return kernels_.quant_linear_blocks != nullptr ? RowPacking::kBlocks : RowPacking::kTiles;
  }
  template <typename Source>
  const uint32_t* PackRows(RowPacking packing, int32_t rows, int64_t bytes, Source&& source);
  const uint32_t* PackActivations(const std::byte* in, int32_t rows, int64_t cols, DType act);
  const uint32_t* QuantizeActivations(const std::byte* in, int32_t rows, RowPacking packing,
                                      const CpuPackedWeights& weights);
  const AttentionPlan& PlanAttention(const BatchView& batch, int32_t q_per_group, int32_t groups,
                                     int32_t window);
  int64_t MostCost(const AttentionPlan& plan) const;
  void CutLongTiles(int64_t most, AttentionPlan* plan);
  static void TakeGroups(const std::vector<AttentionItem>& tiles, int32_t groups, int64_t most,
                         std::vector<AttentionItem>* items);
  AttentionTask TaskOf(const PagedAttentionParams& params, const AttentionItem& item,
                       AttentionPart cut) const;

  ThreadPool* const pool_;
  const TierKernels& kernels_;
  DeviceStatus error_;  // the first failure of an operation; stays

  HostMemory packed_rows_;  // a block of rows as the linear kernels read them
  HostMemory quant_rows_;   // for each worker a row in bytes
  HostMemory row_scales_;   // of the block, by segment
  std::vector<std::unique_ptr<LinearScratch>> linear_scratch_;        // one a worker, or none
  std::vector<std::unique_ptr<QuantScratch>> quant_scratch_;          // one a worker, or none
  std::vector<std::unique_ptr<AttentionScratch>> attention_scratch_;  // one a worker
  HostMemory attention_partials_;                                     // of tiles that are cut
  std::vector<TokenChooser> choosers_;                                // one a worker

  // Shared by the layers of the same shape. The first `plans_used_` are this step's; the others
  // keep their memory.
  std::vector<AttentionPlan> plans_;
  size_t plans_used_ = 0;
};

}  // namespace quire::kernels
