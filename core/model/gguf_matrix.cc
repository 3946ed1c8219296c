#include "core/model/gguf_matrix.h"

#include "core/base/check.h"
#include "kernels/api/float_convert.h"

namespace quire {

GgufMatrix::GgufMatrix(const GgufTensor& tensor, int64_t rows, int64_t cols,
                       int64_t interleaved_heads)
    : EncodedMatrix(rows, cols),
      tensor_(tensor),
      rows_a_head_(interleaved_heads == 0 ? 0 : rows / interleaved_heads),
      row_bytes_(static_cast<int64_t>(tensor.data.size()) / rows) {
  const GgufTensorType& type = *tensor.type;
  QUIRE_CHECK(cols % type.block_elements == 0 && kTileCols % type.block_elements == 0);
  QUIRE_CHECK(row_bytes_ == cols / type.block_elements * type.block_bytes);
  QUIRE_CHECK(rows_a_head_ % 2 == 0);
}

int64_t GgufMatrix::StoredRow(int64_t row) const {
  if (rows_a_head_ == 0) return row;
  const int64_t in_head = row % rows_a_head_;
  const int64_t half = rows_a_head_ / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

void GgufMatrix::Decode(const MatrixTile& tile, float* out) const {
  const GgufTensorType& type = *tensor_.type;
  const int64_t blocks = tile.cols / type.block_elements;
  for (int64_t r = 0; r < tile.rows; ++r) {
    const std::byte* data = tensor_.data.data() + StoredRow(tile.row + r) * row_bytes_ +
                            tile.col / type.block_elements * type.block_bytes;
    if (type.plain.has_value()) {
      kernels::ConvertToFloat(data, *type.plain, static_cast<size_t>(tile.cols), out);
      out += tile.cols;
      continue;
    }
    for (int64_t b = 0; b < blocks; ++b) {
      type.decode(data + b * type.block_bytes, out);
      out += type.block_elements;
    }
  }
}

}  // namespace quire
