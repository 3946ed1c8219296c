#pragma once

#include <cstdint>

namespace quire::kernels {
namespace {

// Cuts `rows` into the fewest tiles of at most `most` rows, as equal as can be.
struct RowTiles {
  int32_t rows;
  int32_t tiles;

  RowTiles(int32_t row_count, int32_t most)
      : rows(row_count), tiles((row_count + most - 1) / most) {}
  int32_t Begin(int32_t tile) const {
    return static_cast<int32_t>(static_cast<int64_t>(tile) * rows / tiles);
  }
  int32_t Count(int32_t tile) const { return Begin(tile + 1) - Begin(tile); }
};

}  // namespace
}  // namespace quire::kernels
