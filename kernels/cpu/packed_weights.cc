#include "kernels/cpu/packed_weights.h"

#include <bit>
#include <limits>
#include <string>

#include "kernels/api/float_convert.h"

namespace quire::kernels {
namespace {

using Code = DeviceStatus::Code;

std::string ShapeName(int64_t rows, int64_t cols) {
  return std::string("[") + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

DeviceStatus CheckArguments(int64_t rows, int64_t cols, DType dtype) {
  constexpr int64_t kMaxSide = std::numeric_limits<int32_t>::max();
  if (rows <= 0 || cols <= 0 || rows > kMaxSide || cols > kMaxSide) {
    return DeviceStatus(Code::kInvalidArgument,
                        std::string("a weight matrix cannot have shape ") + ShapeName(rows, cols));
  }
  if (dtype != DType::kF32 && dtype != DType::kBF16) {
    return DeviceStatus(Code::kInvalidArgument,
                        std::string("the CPU computes in f32 or bf16, not in ") + DTypeName(dtype));
  }
  return DeviceStatus();
}

int64_t WordsOf(int64_t cols, DType dtype, WeightFormat format) {
  if (format != WeightFormat::kDense) {
    return (cols + kQuantGroup - 1) / kQuantGroup * kQuantGroupWords;
  }
  return dtype == DType::kF32 ? cols : (cols + 1) / 2;
}

}  // namespace

std::unique_ptr<CpuPackedWeights> CpuPackedWeights::Create(int64_t rows, int64_t cols, DType dtype,
                                                           WeightFormat format,
                                                           DeviceStatus* status) {
  *status = CheckArguments(rows, cols, dtype);
  if (!status->ok()) return nullptr;
  std::unique_ptr<CpuPackedWeights> weights(new CpuPackedWeights());
  weights->rows_ = rows;
  weights->cols_ = cols;
  weights->dtype_ = dtype;
  weights->format_ = format;
  weights->words_ = WordsOf(cols, dtype, format);
  weights->panels_ = (rows + kPanelColumns - 1) / kPanelColumns;
  *status = weights->Reserve();
  return status->ok() ? std::move(weights) : nullptr;
}

DeviceStatus CpuPackedWeights::Reserve() {
  const auto panels = static_cast<size_t>(panels_);
  const size_t columns = panels * kPanelColumns;
  const size_t bytes = panels * static_cast<size_t>(PanelWords()) * sizeof(uint32_t);
  bool reserved = memory_.Reserve(bytes);
  if (format_ != WeightFormat::kDense) {
    reserved = reserved && row_scales_.Reserve(columns * sizeof(float)) &&
               offsets_.Reserve(columns * static_cast<size_t>(segments()) * sizeof(int32_t));
  }
  if (format_ == WeightFormat::kInt4) {
    const auto groups = static_cast<size_t>(words_ / kQuantGroupWords);
    reserved = reserved && group_scales_.Reserve(columns * groups);
  }
  if (reserved) return DeviceStatus();
  return DeviceStatus(Code::kOutOfMemory, std::string("no memory for weights of shape ") +
                                              ShapeName(rows_, cols_) + " (" +
                                              std::to_string(bytes) + " bytes)");
}

uint8_t* CpuPackedWeights::group_scales(int64_t panel) const {
  if (format_ != WeightFormat::kInt4) return nullptr;
  return group_scales_.as<uint8_t>() + panel * (words_ / kQuantGroupWords) * kPanelColumns;
}

int32_t* CpuPackedWeights::offsets(int64_t panel) const {
  return offsets_.as<int32_t>() + panel * segments() * kPanelColumns;
}

void CpuPackedWeights::ReadRow(int64_t row, float* out) const {
  const int64_t index = row / kPanelColumns;
  const int64_t column = row % kPanelColumns;
  const uint32_t* words = panel(index);
  const auto byte = [](uint32_t word, int64_t i) { return (word >> (8 * (i % 4))) & 0xff; };
  for (int64_t i = 0; i < cols_; ++i) {
    if (format_ == WeightFormat::kInt8) {
      const auto q = static_cast<int8_t>(byte(words[i / 4 * kPanelColumns + column], i));
      out[i] = row_scales(index)[column] * static_cast<float>(q);
    } else if (format_ == WeightFormat::kInt4) {
      constexpr int64_t kHalf = kPanelColumns / 2;
      const uint32_t both = byte(words[i / 4 * kHalf + column % kHalf], i);
      const auto q = static_cast<int32_t>(column < kHalf ? both & 15 : both >> 4);
      const int32_t scale = group_scales(index)[i / kQuantGroup * kPanelColumns + column];
      const int32_t integer = (q - 8 + (scale >> 4)) * (scale & 15);
      out[i] = row_scales(index)[column] * static_cast<float>(integer);
    } else if (dtype_ == DType::kF32) {
      out[i] = std::bit_cast<float>(words[i * kPanelColumns + column]);
    } else {
      const uint32_t pair = words[i / 2 * kPanelColumns + column];
      out[i] = Bf16ToFloat(static_cast<uint16_t>(i % 2 == 0 ? pair & 0xffff : pair >> 16));
    }
  }
}

}  // namespace quire::kernels
