#include <algorithm>
#include <cstring>

#include "kernels/api/float_convert.h"
#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/tier/tier_kernels.h"

namespace quire::kernels {
namespace {

// Bounds the block of a panel that is transposed at once, so that it stays in the L1 cache.
constexpr int64_t kWordsAtOnce = 64;

template <DType kFrom>
float LoadElement(const std::byte* row, int64_t index) {
  if constexpr (kFrom == DType::kF32) {
    float value;
    std::memcpy(&value, row + index * 4, 4);
    return value;
  } else {
    uint16_t bits;
    std::memcpy(&bits, row + index * 2, 2);
    return kFrom == DType::kBF16 ? Bf16ToFloat(bits) : F16ToFloat(bits);
  }
}

template <DType kFrom, DType kTo>
uint32_t MakeWord(const std::byte* row, int64_t word, int64_t cols) {
  if constexpr (kTo == DType::kF32) {
    return std::bit_cast<uint32_t>(LoadElement<kFrom>(row, word));
  } else {
    const uint32_t low = FloatToBf16(LoadElement<kFrom>(row, 2 * word));
    if (2 * word + 1 == cols) return low;
    const uint32_t high = FloatToBf16(LoadElement<kFrom>(row, 2 * word + 1));
    return low | (high << 16);
  }
}

// One column of a panel: words [begin, end) of a weight row, or zeros where `row` is null.
template <DType kFrom, DType kTo>
void PackColumn(const std::byte* row, int64_t begin, int64_t end, int64_t cols, uint32_t* column) {
  for (int64_t word = begin; word < end; ++word) {
    column[word * kPanelColumns] = MakeWord<kFrom, kTo>(row, word, cols);
  }
}

using PackColumnFn = void (*)(const std::byte*, int64_t, int64_t, int64_t, uint32_t*);

template <DType kTo>
PackColumnFn PackColumnFrom(DType from) {
  switch (from) {
    case DType::kF32:
      return PackColumn<DType::kF32, kTo>;
    case DType::kF16:
      return PackColumn<DType::kF16, kTo>;
    case DType::kBF16:
      return PackColumn<DType::kBF16, kTo>;
    case DType::kF8E4M3:
    case DType::kInt8:
      break;  // refused by CheckWeightParts
  }
  return nullptr;
}

struct SourceRow {
  const std::byte* data = nullptr;  // null: a row of padding
  PackColumnFn pack = nullptr;
};

SourceRow FindRow(const HostMatrix* parts, int num_parts, int64_t row, DType to) {
  for (int i = 0; i < num_parts; ++i) {
    const HostMatrix& part = parts[i];
    if (row < part.rows) {
      const size_t offset = static_cast<size_t>(row * part.cols) * DTypeBytes(part.dtype);
      const PackColumnFn pack = to == DType::kF32 ? PackColumnFrom<DType::kF32>(part.dtype)
                                                  : PackColumnFrom<DType::kBF16>(part.dtype);
      return {static_cast<const std::byte*>(part.data) + offset, pack};
    }
    row -= part.rows;
  }
  return {};
}

void PackPanel(const HostMatrix* parts, int num_parts, int64_t panel,
               const CpuPackedWeights& weights) {
  SourceRow rows[kPanelColumns];
  for (int64_t column = 0; column < kPanelColumns; ++column) {
    rows[column] = FindRow(parts, num_parts, panel * kPanelColumns + column, weights.dtype());
  }
  uint32_t* out = weights.panel(panel);
  for (int64_t begin = 0; begin < weights.words(); begin += kWordsAtOnce) {
    const int64_t end = std::min(begin + kWordsAtOnce, weights.words());
    for (int64_t column = 0; column < kPanelColumns; ++column) {
      const SourceRow& row = rows[column];
      if (row.data != nullptr) {
        row.pack(row.data, begin, end, weights.cols(), out + column);
      } else {
        for (int64_t word = begin; word < end; ++word) out[word * kPanelColumns + column] = 0;
      }
    }
  }
}

}  // namespace

void PackParts(const HostMatrix* parts, int num_parts, ThreadPool* pool,
               CpuPackedWeights* weights) {
  if (weights->format() != WeightFormat::kDense) {
    return QuantizeParts(parts, num_parts, pool, weights);
  }
  pool->ParallelFor(weights->panels(),
                    [&](int64_t panel, int) { PackPanel(parts, num_parts, panel, *weights); });
}

}  // namespace quire::kernels
