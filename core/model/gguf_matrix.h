#pragma once

#include <cstdint>

#include "core/model/gguf_file.h"
#include "core/model/quant_matrix.h"

namespace quire {

// A GGUF tensor of one or two dimensions as a matrix; a vector is one column where
// `interleaved_heads` is set, else one row. With it, rows are put back into the order that
// rotations by halves need: the file holds the row i of a head's first half at 2 i and that of the
// second at 2 i + 1, as llama.cpp's converter writes queries and keys of Llama models.
class GgufMatrix final : public EncodedMatrix {
 public:
  // The tensor has rows * cols elements; `interleaved_heads` (0: none) divides rows into an even
  // number each. The tensor must outlive it.
  GgufMatrix(const GgufTensor& tensor, int64_t rows, int64_t cols, int64_t interleaved_heads);

  void Decode(const MatrixTile& tile, float* out) const override;

 private:
  int64_t StoredRow(int64_t row) const;

  const GgufTensor& tensor_;
  const int64_t rows_a_head_;  // 0: stored in order
  const int64_t row_bytes_;
};

}  // namespace quire
