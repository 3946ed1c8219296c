#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/tier/tier_kernels.h"

// The state of AMX's tile registers.

namespace quire::kernels {
namespace {

// What LDTILECFG reads: rows of 64 bytes in all eight registers, 16 of them but for the first
// `row_tiles`, which hold sums and what is multiplied with them: at most `rows`.
struct TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};

  TileShapes(int row_tiles, int32_t most_rows) {
    for (int tile = 0; tile < row_tiles && most_rows < kRowBlockSide; ++tile) {
      rows[tile] = static_cast<uint8_t>(most_rows);
    }
  }
};
static_assert(sizeof(TileShapes) == 64);

// The contents of all registers are lost.
inline void ConfigureTiles(int row_tiles, int32_t rows) {
  const TileShapes shapes(row_tiles, rows);
  asm volatile("" : : "m"(shapes));  // GCC 12 takes the intrinsic to read 8 bytes of it
  _tile_loadconfig(&shapes);
}

// The intrinsics do not tell the compiler that a tile is loaded from memory: what is written before
// and read by them has to come before this.
inline void WritesComeFirst() { asm volatile("" ::: "memory"); }

// The tile registers can be used while one lives.
class TilesInUse {
 public:
  TilesInUse(int row_tiles, int32_t rows) { ConfigureTiles(row_tiles, rows); }
  ~TilesInUse() { _tile_release(); }
  TilesInUse(const TilesInUse&) = delete;
  TilesInUse& operator=(const TilesInUse&) = delete;
};

}  // namespace
}  // namespace quire::kernels
