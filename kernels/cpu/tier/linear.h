#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/linear_out.h"
#include "kernels/cpu/tier/row_tiles.h"
#include "kernels/cpu/tier/tier_kernels.h"

// out = a * weights^T. Every output is one accumulator that takes the words of K in order, whatever
// the tile it is computed in: that is what makes a row independent of the rows beside it.

namespace quire::kernels {
namespace {

// A tile of many rows takes so long over a word that the processor's own prefetching, good enough
// for fewer rows (where ours was measured to cost a fifth), stops short of memory's full speed.
inline constexpr int kRowsToPrefetch = 7;
inline constexpr int64_t kPrefetchWords = 64;

// Rows of `a` times `kVecs` vectors of columns, from column `column` of the first of `kPanels`
// panels on.
template <class E, int kRows, int kPanels, int kVecs>
struct LinearTile {
  using V = typename E::Vec;

  static void Run(const LinearTask& task, const uint32_t* a, int32_t row, int64_t panel,
                  int32_t column) {
    typename V::F32 acc[kRows][kPanels * kVecs];
    for (auto& row_acc : acc) {
      for (auto& x : row_acc) x = V::Zero();
    }
    const int64_t stride = task.words * kPanelColumns;
    const uint32_t* b = task.panels + panel * stride + column;
    for (int64_t word = 0; word < task.words; ++word, b += kPanelColumns, a += kRows) {
      Step(a, b, stride, acc);
    }
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kPanels * kVecs; ++j) {
        const int64_t n = (panel + j / kVecs) * kPanelColumns + column + (j % kVecs) * V::kLanes;
        StoreLinear<V>(task, row + r, n, acc[r][j]);
      }
    }
  }

 private:
  static void Step(const uint32_t* a, const uint32_t* b, int64_t stride,
                   typename V::F32 (&acc)[kRows][kPanels * kVecs]) {
    typename V::Words weights[kPanels * kVecs];
    for (int j = 0; j < kPanels * kVecs; ++j) {
      weights[j] = V::LoadWords(b + (j / kVecs) * stride + (j % kVecs) * V::kLanes);
    }
    if constexpr (kPanels == 1 && kRows >= kRowsToPrefetch) {
      __builtin_prefetch(b + kPrefetchWords * kPanelColumns);
      __builtin_prefetch(b + kPrefetchWords * kPanelColumns + kPanelColumns / 2);
    }
    for (int r = 0; r < kRows; ++r) {
      const typename V::Words x = V::SetWord(a[r]);
      for (int j = 0; j < kPanels * kVecs; ++j) acc[r][j] = E::Dot(acc[r][j], x, weights[j]);
    }
  }
};

// Tiles of up to kMaxRows rows and kVecs vectors of columns, which fill the registers. Few rows
// take several panels at once instead: their loads from memory overlap.
template <class E, int kMaxRows, int kVecs>
class LinearKernel {
 public:
  static void Run(const LinearTask& task, LinearScratch*) {
    int64_t panel = task.panel_begin;
    if (task.rows <= kMaxRows / 4) {
      for (; panel + 4 <= task.panel_end; panel += 4) RunPanels<4>(task, panel);
    } else if (task.rows <= kMaxRows / 2) {
      for (; panel + 2 <= task.panel_end; panel += 2) RunPanels<2>(task, panel);
    }
    for (; panel < task.panel_end; ++panel) RunPanels<1>(task, panel);
  }

 private:
  template <int kPanels>
  static void RunPanels(const LinearTask& task, int64_t panel) {
    const RowTiles tiles(task.rows, kMaxRows);
    for (int32_t column = 0; column < kPanelColumns; column += kVecs * E::Vec::kLanes) {
      for (int32_t tile = 0; tile < tiles.tiles; ++tile) {
        const int32_t row = tiles.Begin(tile);
        RunTile<kPanels, kMaxRows / kPanels>(task, row, tiles.Count(tile), panel, column);
      }
    }
  }

  // From a row count known at run time to one known to the compiler.
  template <int kPanels, int kRows>
  static void RunTile(const LinearTask& task, int32_t row, int32_t rows, int64_t panel,
                      int32_t column) {
    if constexpr (kRows > 0) {
      if (rows != kRows) return RunTile<kPanels, kRows - 1>(task, row, rows, panel, column);
      LinearTile<E, kRows, kPanels, kVecs>::Run(task, task.a + row * task.words, row, panel,
                                                column);
    }
  }
};

}  // namespace
}  // namespace quire::kernels
