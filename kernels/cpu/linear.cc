#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/tier/row_tiles.h"

namespace quire::kernels {
namespace {

// Rows multiplied in one go: few enough for the packed activations to stay in the caches while
// every panel passes over them (512 rows of 8192 were a sixth slower), and enough for arithmetic,
// not reading the weights again for each block, to be the limit. A multiple of every tier's
// tile height.
constexpr int32_t kRowBlock = kMaxQuantRows;

// Enough items for a worker that is held up to leave the rest to the others.
constexpr int64_t kItemsPerWorker = 16;
constexpr int64_t kMaxPanelsPerItem = 64;
constexpr int64_t kPanelGroup = 4;  // what the kernels for few rows take at once

int64_t PanelsPerItem(int64_t panels, int workers) {
  if (workers == 1) return panels;
  const int64_t share = std::min(panels / (workers * kItemsPerWorker), kMaxPanelsPerItem);
  return std::max(share / kPanelGroup * kPanelGroup, kPanelGroup);
}

// Copies one row into its column of a tile [words][tile_rows].
void PackRow(const std::byte* row, int64_t cols, DType act, int32_t tile_rows, uint32_t* out) {
  const size_t bytes = static_cast<size_t>(cols) * DTypeBytes(act);
  const auto words = static_cast<int64_t>(bytes / 4);
  for (int64_t word = 0; word < words; ++word) {
    std::memcpy(out + word * tile_rows, row + word * 4, 4);
  }
  if (bytes % 4 != 0) {  // odd K: the weights of the missing element are zero, and so is it
    uint16_t last;
    std::memcpy(&last, row + words * 4, sizeof(last));
    out[words * tile_rows] = last;
  }
}

}  // namespace

bool CpuOps::ReserveForLinear(const CpuPackedWeights& weights) {
  const auto words = static_cast<size_t>(weights.words());
  if (!packed_rows_.Reserve(words * kRowBlock * sizeof(uint32_t))) return false;
  if (weights.format() == WeightFormat::kDense) return true;
  while (quant_scratch_.size() < static_cast<size_t>(pool_->size())) {
    std::unique_ptr<QuantScratch> scratch(new (std::nothrow) QuantScratch);
    if (scratch == nullptr) return false;
    quant_scratch_.push_back(std::move(scratch));
  }
  return quant_rows_.Reserve(words * sizeof(uint32_t) * quant_scratch_.size()) &&
         row_scales_.Reserve(static_cast<size_t>(weights.segments()) * kRowBlock * sizeof(float));
}

const uint32_t* CpuOps::PackActivations(const std::byte* in, int32_t rows, int64_t cols,
                                        DType act) {
  const int64_t row_bytes = cols * static_cast<int64_t>(DTypeBytes(act));
  const int64_t words = (row_bytes + 3) / 4;
  auto* packed = packed_rows_.as<uint32_t>();
  const RowTiles tiles(rows, kernels_.tile_rows);
  pool_->ParallelFor(tiles.tiles, [&](int64_t index, int) {
    const auto tile = static_cast<int32_t>(index);
    const int32_t begin = tiles.Begin(tile);
    const int32_t count = tiles.Count(tile);
    for (int32_t r = 0; r < count; ++r) {
      PackRow(in + (begin + r) * row_bytes, cols, act, count, packed + begin * words + r);
    }
  });
  return packed;
}

// The same in bytes, with the scales of each row's segments.
const uint32_t* CpuOps::QuantizeActivations(const std::byte* in, int32_t rows,
                                            const CpuPackedWeights& weights) {
  const DType act = weights.dtype();
  const int64_t row_bytes = weights.cols() * static_cast<int64_t>(DTypeBytes(act));
  const int64_t words = weights.words();
  auto* packed = packed_rows_.as<uint32_t>();
  auto* scales = row_scales_.as<float>();
  const auto quantize = Kernels(act).quantize;
  const RowTiles tiles(rows, kernels_.tile_rows);
  pool_->ParallelFor(tiles.tiles, [&](int64_t index, int worker) {
    const auto tile = static_cast<int32_t>(index);
    const int32_t begin = tiles.Begin(tile);
    const int32_t count = tiles.Count(tile);
    auto* bytes = quant_rows_.as<uint8_t>() + worker * words * 4;
    for (int32_t r = 0; r < count; ++r) {
      quantize(in + (begin + r) * row_bytes, weights.cols(), words, bytes,
               scales + (begin + r) * weights.segments());
      PackRow(reinterpret_cast<const std::byte*>(bytes), words, DType::kF32, count,
              packed + begin * words + r);
    }
  });
  return packed;
}

void CpuOps::Linear(const LinearParams& params) {
  const auto& weights = static_cast<const CpuPackedWeights&>(*params.weights);
  KERNELS_CHECK(*params.rows >= 0 && *params.rows <= params.max_rows);
  KERNELS_CHECK(params.act == weights.dtype());
  if (weights.format() == WeightFormat::kDense) {
    DenseLinear(params, weights);
  } else {
    QuantLinear(params, weights);
  }
}

void CpuOps::DenseLinear(const LinearParams& params, const CpuPackedWeights& weights) {
  const int32_t rows = *params.rows;
  const auto* in = static_cast<const std::byte*>(params.in);
  const int64_t row_bytes = weights.cols() * static_cast<int64_t>(DTypeBytes(params.act));
  const int64_t panels_per_item = PanelsPerItem(weights.panels(), pool_->size());
  const int64_t items = (weights.panels() + panels_per_item - 1) / panels_per_item;
  const auto kernel = Kernels(params.act).linear;

  for (int32_t begin = 0; begin < rows; begin += kRowBlock) {
    const int32_t count = std::min(kRowBlock, rows - begin);
    const uint32_t* a = PackActivations(in + begin * row_bytes, count, weights.cols(), params.act);
    pool_->ParallelFor(items, [&](int64_t item, int) {
      const int64_t first = item * panels_per_item;
      kernel(LinearTask{a, count, weights.data(), weights.words(), weights.rows(), first,
                        std::min(first + panels_per_item, weights.panels()), params.bias,
                        params.accumulate, params.out + begin * weights.rows()});
    });
  }
}

void CpuOps::QuantLinear(const LinearParams& params, const CpuPackedWeights& weights) {
  const int32_t rows = *params.rows;
  const auto* in = static_cast<const std::byte*>(params.in);
  const int64_t row_bytes = weights.cols() * static_cast<int64_t>(DTypeBytes(params.act));
  const int64_t panels_per_item = PanelsPerItem(weights.panels(), pool_->size());
  const int64_t items = (weights.panels() + panels_per_item - 1) / panels_per_item;

  for (int32_t begin = 0; begin < rows; begin += kRowBlock) {
    const int32_t count = std::min(kRowBlock, rows - begin);
    const uint32_t* a = QuantizeActivations(in + begin * row_bytes, count, weights);
    pool_->ParallelFor(items, [&](int64_t item, int worker) {
      const int64_t first = item * panels_per_item;
      const QuantLinearTask task{.a = a,
                                 .a_scales = row_scales_.as<float>(),
                                 .rows = count,
                                 .panels = weights.data(),
                                 .group_scales = weights.group_scales(0),
                                 .offsets = weights.offsets(0),
                                 .column_scales = weights.row_scales(0),
                                 .words = weights.words(),
                                 .columns = weights.rows(),
                                 .panel_begin = first,
                                 .panel_end = std::min(first + panels_per_item, weights.panels()),
                                 .bias = params.bias,
                                 .accumulate = params.accumulate,
                                 .out = params.out + begin * weights.rows()};
      kernels_.quant_linear(task, *quant_scratch_[static_cast<size_t>(worker)]);
    });
  }
}

}  // namespace quire::kernels
