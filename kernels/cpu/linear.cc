#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/tier/row_tiles.h"

namespace quire::kernels {
namespace {

int32_t RowsAtOnce(RowPacking packing) {
  return packing == RowPacking::kBlocks ? kMaxLinearRows : kTiledLinearRows;
}

// From so many rows on integers are multiplied in blocks where the tier can: fewer fill a block
// badly, and reading the weights takes as long.
constexpr int32_t kRowsForBlocks = 5;

// Enough items for a worker that is held up to leave the rest to the others.
constexpr int64_t kItemsPerWorker = 16;
constexpr int64_t kMaxPanelsPerItem = 64;
constexpr int64_t kPanelGroup = 4;  // what the kernels for few rows take at once

int64_t PanelsPerItem(int64_t panels, int workers) {
  if (workers == 1) return panels;
  const int64_t share = std::min(panels / (workers * kItemsPerWorker), kMaxPanelsPerItem);
  return std::max(share / kPanelGroup * kPanelGroup, kPanelGroup);
}

int64_t WordBlocks(int64_t words) { return (words + kRowBlockSide - 1) / kRowBlockSide; }

// Copies one row into its column of a tile [words][tile_rows].
void PackIntoTile(const std::byte* row, int64_t bytes, int32_t tile_rows, uint32_t* out) {
  const int64_t words = bytes / 4;
  for (int64_t word = 0; word < words; ++word) {
    std::memcpy(out + word * tile_rows, row + word * 4, 4);
  }
  if (bytes % 4 != 0) {  // odd K: the weights of the missing element are zero, and so is it
    uint16_t last;
    std::memcpy(&last, row + words * 4, sizeof(last));
    out[words * tile_rows] = last;
  }
}

// Copies one row, or nothing but the padding, into its row of each of `blocks` blocks.
void PackIntoBlocks(const std::byte* row, int64_t bytes, int64_t blocks, uint32_t* out) {
  constexpr int64_t kBytes = kRowBlockSide * sizeof(uint32_t);
  for (int64_t block = 0; block < blocks; ++block, out += kRowBlockWords) {
    const int64_t now = std::clamp<int64_t>(bytes - block * kBytes, 0, kBytes);
    if (now > 0) std::memcpy(out, row + block * kBytes, static_cast<size_t>(now));
    std::memset(reinterpret_cast<std::byte*>(out) + now, 0, static_cast<size_t>(kBytes - now));
  }
}

}  // namespace

// One for each worker. False when there is no memory.
template <class Scratch>
bool CpuOps::ReserveScratch(std::vector<std::unique_ptr<Scratch>>* scratch) {
  while (scratch->size() < static_cast<size_t>(pool_->size())) {
    std::unique_ptr<Scratch> one(new (std::nothrow) Scratch);
    if (one == nullptr) return false;
    scratch->push_back(std::move(one));
  }
  return true;
}

bool CpuOps::ReserveForLinear(const CpuPackedWeights& weights) {
  const auto words = static_cast<size_t>(weights.words());
  const auto padded = static_cast<size_t>(WordBlocks(weights.words()) * kRowBlockSide);
  const bool dense = weights.format() == WeightFormat::kDense;
  const RowPacking packing = dense ? Kernels(weights.dtype()).linear_rows : ManyQuantRows();
  const auto rows = static_cast<size_t>(RowsAtOnce(packing));
  if (!packed_rows_.Reserve(padded * rows * sizeof(uint32_t))) return false;
  if (dense) return packing == RowPacking::kTiles || ReserveScratch(&linear_scratch_);
  return ReserveScratch(&quant_scratch_) &&
         quant_rows_.Reserve(words * sizeof(uint32_t) * quant_scratch_.size()) &&
         row_scales_.Reserve(static_cast<size_t>(weights.segments()) * rows * sizeof(float));
}

// `source(row, worker)` points to a row of `bytes` bytes.
template <typename Source>
const uint32_t* CpuOps::PackRows(RowPacking packing, int32_t rows, int64_t bytes, Source&& source) {
  auto* packed = packed_rows_.as<uint32_t>();
  const int64_t words = (bytes + 3) / 4;
  if (packing == RowPacking::kTiles) {
    const RowTiles tiles(rows, kernels_.tile_rows);
    pool_->ParallelFor(tiles.tiles, [&](int64_t index, int worker) {
      const auto tile = static_cast<int32_t>(index);
      const int32_t begin = tiles.Begin(tile);
      const int32_t count = tiles.Count(tile);
      for (int32_t r = 0; r < count; ++r) {
        PackIntoTile(source(begin + r, worker), bytes, count, packed + begin * words + r);
      }
    });
    return packed;
  }
  const int64_t blocks = WordBlocks(words);
  const int32_t row_blocks = (rows + kRowBlockSide - 1) / kRowBlockSide;
  pool_->ParallelFor(row_blocks, [&](int64_t index, int worker) {
    for (int32_t r = 0; r < kRowBlockSide; ++r) {
      const auto row = static_cast<int32_t>(index) * kRowBlockSide + r;
      uint32_t* out = packed + index * blocks * kRowBlockWords + r * kRowBlockSide;
      if (row < rows) {
        PackIntoBlocks(source(row, worker), bytes, blocks, out);
      } else if (row_blocks > 1) {
        PackIntoBlocks(nullptr, 0, blocks, out);
      }
    }
  });
  return packed;
}

const uint32_t* CpuOps::PackActivations(const std::byte* in, int32_t rows, int64_t cols,
                                        DType act) {
  const int64_t bytes = cols * static_cast<int64_t>(DTypeBytes(act));
  return PackRows(Kernels(act).linear_rows, rows, bytes,
                  [=](int64_t row, int) { return in + row * bytes; });
}

// The same in bytes, with the scales of each row's segments.
const uint32_t* CpuOps::QuantizeActivations(const std::byte* in, int32_t rows, RowPacking packing,
                                            const CpuPackedWeights& weights) {
  const DType act = weights.dtype();
  const int64_t row_bytes = weights.cols() * static_cast<int64_t>(DTypeBytes(act));
  const int64_t bytes = weights.words() * 4;
  const auto quantize = Kernels(act).quantize;
  return PackRows(packing, rows, bytes, [&](int64_t row, int worker) {
    auto* out = quant_rows_.as<std::byte>() + worker * bytes;
    quantize(in + row * row_bytes, weights.cols(), weights.words(), reinterpret_cast<uint8_t*>(out),
             row_scales_.as<float>() + row * weights.segments());
    return static_cast<const std::byte*>(out);
  });
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
  const ElementKernels& kernels = Kernels(params.act);
  const bool in_blocks = kernels.linear_rows == RowPacking::kBlocks;
  const int32_t at_once = RowsAtOnce(kernels.linear_rows);

  for (int32_t begin = 0; begin < rows; begin += at_once) {
    const int32_t count = std::min(at_once, rows - begin);
    const uint32_t* a = PackActivations(in + begin * row_bytes, count, weights.cols(), params.act);
    pool_->ParallelFor(items, [&](int64_t item, int worker) {
      const int64_t first = item * panels_per_item;
      const LinearTask task{a,
                            count,
                            weights.data(),
                            weights.words(),
                            weights.rows(),
                            first,
                            std::min(first + panels_per_item, weights.panels()),
                            params.bias,
                            params.accumulate,
                            params.out + begin * weights.rows()};
      kernels.linear(task,
                     in_blocks ? linear_scratch_[static_cast<size_t>(worker)].get() : nullptr);
    });
  }
}

void CpuOps::QuantLinear(const LinearParams& params, const CpuPackedWeights& weights) {
  const int32_t rows = *params.rows;
  const auto* in = static_cast<const std::byte*>(params.in);
  const int64_t row_bytes = weights.cols() * static_cast<int64_t>(DTypeBytes(params.act));
  const int64_t panels_per_item = PanelsPerItem(weights.panels(), pool_->size());
  const int64_t items = (weights.panels() + panels_per_item - 1) / panels_per_item;

  const int32_t at_once = RowsAtOnce(ManyQuantRows());

  for (int32_t begin = 0; begin < rows; begin += at_once) {
    const int32_t count = std::min(at_once, rows - begin);
    const bool in_blocks = ManyQuantRows() == RowPacking::kBlocks && count >= kRowsForBlocks;
    const auto kernel = in_blocks ? kernels_.quant_linear_blocks : kernels_.quant_linear;
    const uint32_t* a =
        QuantizeActivations(in + begin * row_bytes, count,
                            in_blocks ? RowPacking::kBlocks : RowPacking::kTiles, weights);
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
      kernel(task, *quant_scratch_[static_cast<size_t>(worker)]);
    });
  }
}

}  // namespace quire::kernels
