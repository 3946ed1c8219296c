#include "core/model/quant_fp8.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/quant_tensors.h"

namespace quire {
namespace {

float Fp8ToFloat(uint32_t code) {
  const int exponent = static_cast<int>((code >> 3) & 0xf);
  const int fraction = static_cast<int>(code & 7);
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -9)
                              : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

class Fp8Matrix final : public EncodedMatrix {
 public:
  // An element's scale is at [row / block_rows, column / block_cols] of `scales`.
  Fp8Matrix(int64_t rows, int64_t cols, const std::byte* codes, std::vector<float> scales,
            int64_t block_rows, int64_t block_cols)
      : EncodedMatrix(rows, cols),
        values_(Fp8Values()),
        codes_(codes),
        scales_(std::move(scales)),
        block_rows_(block_rows),
        block_cols_(block_cols),
        scales_a_row_((cols + block_cols - 1) / block_cols) {}

  void Decode(const MatrixTile& tile, float* out) const override {
    for (int64_t r = 0; r < tile.rows; ++r) {
      const int64_t row = tile.row + r;
      const float* scales = scales_.data() + row / block_rows_ * scales_a_row_;
      const std::byte* codes = codes_ + row * cols();
      const int64_t end = tile.col + tile.cols;
      for (int64_t col = tile.col; col < end;) {
        const int64_t block = col / block_cols_;
        const float scale = scales[block];
        for (const int64_t stop = std::min(end, (block + 1) * block_cols_); col < stop; ++col) {
          *out++ = values_[static_cast<size_t>(codes[col])] * scale;
        }
      }
    }
  }

 private:
  const std::array<float, 256> values_;
  const std::byte* const codes_;
  const std::vector<float> scales_;
  const int64_t block_rows_;
  const int64_t block_cols_;
  const int64_t scales_a_row_;
};

}  // namespace

std::array<float, 256> Fp8Values() {
  std::array<float, 256> values{};
  for (uint32_t code = 0; code < 256; ++code) values[code] = Fp8ToFloat(code);
  return values;
}

absl::StatusOr<std::unique_ptr<EncodedMatrix>> OpenFp8(const QuantConfig& config,
                                                       const SafetensorsEntry& codes,
                                                       const SafetensorsEntry& scales, int64_t rows,
                                                       int64_t cols) {
  using Shape = std::vector<int64_t>;
  QUIRE_RETURN_IF_ERROR(CheckQuantTensor(codes, {"F8_E4M3"}, {rows, cols}));
  int64_t block_rows = config.block_rows;
  int64_t block_cols = config.block_cols;
  if (block_rows > 0) {
    const Shape blocks = {(rows + block_rows - 1) / block_rows,
                          (cols + block_cols - 1) / block_cols};
    QUIRE_RETURN_IF_ERROR(CheckQuantTensor(scales, {"F32", "F16", "BF16"}, blocks));
  } else if (scales.shape.empty() || scales.shape == Shape{1}) {
    block_rows = rows;
    block_cols = cols;
  } else if (scales.shape == Shape{rows} || scales.shape == Shape{rows, 1}) {
    block_rows = 1;
    block_cols = cols;
  } else {
    return QuantError(
        scales, absl::StrCat("has shape ", ShapeName(scales.shape),
                             ", but must be one scale or one for each of ", rows, " outputs"));
  }
  QUIRE_ASSIGN_OR_RETURN(std::vector<float> values, ReadScales(scales));
  return std::make_unique<Fp8Matrix>(rows, cols, codes.data.data(), std::move(values), block_rows,
                                     block_cols);
}

}  // namespace quire
