#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/api/types.h"

namespace quire {

// A part of a matrix: rows [row, row + rows) and columns [col, col + cols).
struct MatrixTile {
  int64_t row = 0;
  int64_t col = 0;
  int64_t rows = 0;
  int64_t cols = 0;
};

// A weight matrix [rows = outputs, cols = inputs] whose elements follow from what a checkpoint
// stores, by a formula that is evaluated in float32. Immutable; looks into the mapped file.
class EncodedMatrix {
 public:
  // A tile has at most so many rows and columns and begins at multiples of them; it ends there or
  // at the matrix's edge. No format has blocks that would be cut.
  static constexpr int64_t kTileRows = 64;
  static constexpr int64_t kTileCols = 256;

  EncodedMatrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {}
  virtual ~EncodedMatrix() = default;

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

  // Writes the tile to `out`, [tile.rows, tile.cols] row-major.
  virtual void Decode(const MatrixTile& tile, float* out) const = 0;

 private:
  int64_t rows_;
  int64_t cols_;
};

// Decoded matrices in host memory, which it keeps for the next ones. One thread.
class DecodedMatrices {
 public:
  void Clear() { used_ = 0; }

  // Decodes to `dtype`: kF32, or kBF16, which rounds to nearest even. Valid until Clear.
  // InvalidArgument, naming the tensor, where an element is not finite; ResourceExhausted without
  // the memory.
  absl::StatusOr<kernels::HostMatrix> Add(const EncodedMatrix& matrix, std::string_view name,
                                          kernels::DType dtype);

 private:
  struct Buffer {
    std::unique_ptr<std::byte[]> data;
    size_t bytes = 0;
  };
  std::vector<Buffer> buffers_;
  size_t used_ = 0;  // of buffers_
};

}  // namespace quire
