#include "core/model/quant_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "kernels/api/float_convert.h"

namespace quire {
namespace {

using kernels::DType;

absl::Status CheckFinite(const MatrixTile& tile, const float* values, std::string_view name) {
  const float* end = values + tile.rows * tile.cols;
  int not_finite = 0;  // counted rather than searched for: that loop has no branch
  for (const float* value = values; value != end; ++value) {
    not_finite += std::fabs(*value) <= std::numeric_limits<float>::max() ? 0 : 1;
  }
  if (not_finite == 0) return absl::OkStatus();
  const int64_t at =
      std::find_if(values, end, [](float value) { return !std::isfinite(value); }) - values;
  return absl::InvalidArgumentError(
      absl::StrCat("tensor '", std::string(name), "' has an element that is not finite, at [",
                   tile.row + at / tile.cols, ", ", tile.col + at % tile.cols, "]"));
}

// One row of a tile to its place in the matrix.
void StoreRow(const float* values, int64_t count, DType dtype, std::byte* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  auto* elements = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < count; ++i) elements[i] = kernels::FloatToBf16(values[i]);
}

absl::Status DecodeTo(const EncodedMatrix& matrix, std::string_view name, DType dtype,
                      std::byte* out) {
  std::vector<float> values(EncodedMatrix::kTileRows * EncodedMatrix::kTileCols);
  const auto element_bytes = static_cast<int64_t>(kernels::DTypeBytes(dtype));
  MatrixTile tile;
  for (tile.row = 0; tile.row < matrix.rows(); tile.row += tile.rows) {
    tile.rows = std::min(EncodedMatrix::kTileRows, matrix.rows() - tile.row);
    for (tile.col = 0; tile.col < matrix.cols(); tile.col += tile.cols) {
      tile.cols = std::min(EncodedMatrix::kTileCols, matrix.cols() - tile.col);
      matrix.Decode(tile, values.data());
      QUIRE_RETURN_IF_ERROR(CheckFinite(tile, values.data(), name));
      for (int64_t r = 0; r < tile.rows; ++r) {
        const int64_t offset = (tile.row + r) * matrix.cols() + tile.col;
        StoreRow(values.data() + r * tile.cols, tile.cols, dtype, out + offset * element_bytes);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<kernels::HostMatrix> DecodedMatrices::Add(const EncodedMatrix& matrix,
                                                         std::string_view name, DType dtype) {
  QUIRE_CHECK(dtype != DType::kF16);
  const auto bytes = static_cast<size_t>(matrix.rows() * matrix.cols()) * DTypeBytes(dtype);
  if (used_ == buffers_.size()) buffers_.emplace_back();
  Buffer& buffer = buffers_[used_];
  if (buffer.bytes < bytes) {
    buffer.bytes = 0;
    buffer.data.reset();  // first, so that there is never the memory of both
    buffer.data.reset(new (std::nothrow) std::byte[bytes]);
    if (buffer.data == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for tensor '", std::string(name), "', ", bytes, " bytes"));
    }
    buffer.bytes = bytes;
  }
  QUIRE_RETURN_IF_ERROR(DecodeTo(matrix, name, dtype, buffer.data.get()));
  ++used_;
  return kernels::HostMatrix{
      .data = buffer.data.get(), .dtype = dtype, .rows = matrix.rows(), .cols = matrix.cols()};
}

}  // namespace quire
