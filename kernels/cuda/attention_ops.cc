#include <algorithm>
#include <bit>
#include <string>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/planned_attention.h"

namespace quire::kernels::cuda {
namespace {

AttentionVariant VariantOf(const AttentionLayer& layer, int32_t tile) {
  return {.act = layer.act,
          .fp8_kv = layer.kv == DType::kF8E4M3,
          .head_dim = layer.head_dim,
          .tile = tile};
}

bool SameShape(const AttentionPlanOptions& options, const AttentionLayer& layer) {
  return options.groups == layer.kv_groups &&
         options.q_per_group == layer.num_heads / layer.kv_groups &&
         options.head_dim == layer.head_dim && options.window == layer.window;
}

AttentionLayer LayerOf(const PagedAttentionParams& params) {
  return {.num_heads = params.num_heads,
          .kv_groups = params.kv.kv_groups,
          .head_dim = params.kv.head_dim,
          .window = params.window,
          .act = params.act,
          .kv = params.kv.dtype};
}

}  // namespace

PlannedAttention* CudaOps::FindPlan(const AttentionLayer& layer) const {
  for (const auto& planned : plans_) {
    if (SameShape(planned->plan().options(), layer)) return planned.get();
  }
  return nullptr;
}

// Cards for desktops have less shared memory than those for servers.
DeviceStatus CudaOps::CheckSharedMemory(const AttentionLayer& layer) const {
  const int32_t largest = split_ > 0 ? 0 : LargestAttentionTile(layer.head_dim);
  for (int32_t tile = 0; tile <= largest; ++tile) {
    const int32_t needed = AttentionSharedBytes(VariantOf(layer, tile), split_ > 0);
    const int32_t available = runtime_->properties().max_shared_bytes;
    if (needed > available) {
      return DeviceStatus(DeviceStatus::Code::kInvalidArgument,
                          "attention with heads of " + std::to_string(layer.head_dim) +
                              " elements needs " + std::to_string(needed) +
                              " bytes of shared memory a block, and this GPU has " +
                              std::to_string(available) + "; use --device cpu");
    }
  }
  return DeviceStatus();
}

DeviceStatus CudaOps::PrepareAttention(const PrepareParams& params) {
  size_t out_floats = 0, lse_floats = 0;
  for (int32_t l = 0; l < params.num_attention; ++l) {
    const AttentionLayer& layer = params.attention[l];
    if (FindPlan(layer) != nullptr) continue;
    const AttentionVariant decode = VariantOf(layer, 0);
    if (DeviceStatus status = CheckSharedMemory(layer); !status.ok()) return status;
    const AttentionPlanOptions options = {
        .q_per_group = layer.num_heads / layer.kv_groups,
        .groups = layer.kv_groups,
        .head_dim = layer.head_dim,
        .window = layer.window,
        .resident_blocks = runtime_->ResidentBlocks(kernels_.attention(decode),
                                                    AttentionSharedBytes(decode, split_ > 0)),
        .split = split_};
    std::unique_ptr<PlannedAttention> planned;
    if (DeviceStatus status =
            PlannedAttention::Create(runtime_, params.capacity, options, &planned);
        !status.ok()) {
      return status;
    }
    const size_t rows = static_cast<size_t>(planned->capacity().slots) *
                        static_cast<size_t>(layer.kv_groups) * kPartialRows;
    out_floats = std::max(out_floats, rows * static_cast<size_t>(layer.head_dim));
    lse_floats = std::max(lse_floats, rows);
    plans_.push_back(std::move(planned));
  }
  if (out_floats == 0) return DeviceStatus();
  using Kind = GpuBuffer::Kind;
  DeviceStatus status = partial_out_.Allocate(runtime_, Kind::kDevice, out_floats * sizeof(float));
  if (status.ok()) {
    status = partial_lse_.Allocate(runtime_, Kind::kDevice, lse_floats * sizeof(float));
  }
  return status;
}

void CudaOps::PagedAttention(const PagedAttentionParams& params) {
  const BatchView& batch = *params.batch;
  const KvLayerView& kv = params.kv;
  KERNELS_CHECK(kv.dtype == params.act || kv.dtype == DType::kF8E4M3);
  KERNELS_CHECK(kv.cache_class < batch.num_classes);
  const PlannedAttention* planned = FindPlan(LayerOf(params));
  KERNELS_CHECK(planned != nullptr);  // Prepare was told of every shape
  const BlockTablesView& tables = batch.tables[kv.cache_class];
  AttentionArgs args{};
  args.q_start = batch.q_start;
  args.kv_len = batch.kv_len;
  args.table_start = tables.start;
  args.table = tables.offsets;
  args.header = planned->header();
  args.items = planned->items();
  args.q = params.q;
  args.out = params.out;
  args.partial_out = partial_out_.as<float>();
  args.partial_lse = partial_lse_.as<float>();
  args.kv = kv.base + kv.layer_offset;
  args.tile_bytes = static_cast<uint32_t>(kv.TileBytes());
  args.v_offset = args.tile_bytes * static_cast<uint32_t>(kv.kv_groups);
  args.scale_offset = static_cast<uint32_t>(kv.ScaleOffset());
  args.num_heads = params.num_heads;
  args.groups = kv.kv_groups;
  args.head_dim = kv.head_dim;
  args.block_shift = std::countr_zero(static_cast<uint32_t>(kv.block_tokens));
  KERNELS_CHECK(kv.block_tokens == 1 << args.block_shift);
  args.window = params.window;
  args.split = split_;
  args.scale = params.scale;
  args.softcap = params.softcap;

  LaunchAttention(params, *planned, args);
}

// Grids of what the step holds; in a graph, of what any such step within the capacity may hold.
void CudaOps::LaunchAttention(const PagedAttentionParams& params, const PlannedAttention& planned,
                              const AttentionArgs& args) {
  const AttentionGrid grid =
      capturing_ ? planned.DecodeGrid(params.batch->capacity) : planned.StepGrid();
  for (int32_t tile = 0; tile < kAttentionTiles; ++tile) {
    if (grid.items[tile] == 0) continue;
    const AttentionVariant variant = VariantOf(LayerOf(params), tile);
    Launch(kernels_.attention(variant),
           AttentionLaunch(variant, split_ > 0, grid.items[tile], params.kv.kv_groups), args);
  }
  if (grid.merges > 0) {
    Launch(
        kernels_.attention_merge(params.act),
        AttentionMergeLaunch(grid.merges, grid.merge_rows, params.kv.kv_groups, params.kv.head_dim),
        args);
  }
}

}  // namespace quire::kernels::cuda
