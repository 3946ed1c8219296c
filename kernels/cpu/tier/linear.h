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

// Where a few tiles share a panel, memory would rest while all but the first of them find it in the
// cache. So K is taken in blocks of so many words, and each tile fetches its part of the next one.
// Beyond so many rows the arithmetic is what takes the time, and carrying sums costs some of it.
inline constexpr int64_t kBlockWords = 128;
inline constexpr int32_t kMostBlockedRows = 64;

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
      if constexpr (kPanels == 1 && kRows >= kRowsToPrefetch) {
        __builtin_prefetch(b + kPrefetchWords * kPanelColumns);
        __builtin_prefetch(b + kPrefetchWords * kPanelColumns + kPanelColumns / 2);
      }
      Step(a, b, stride, acc);
    }
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kPanels * kVecs; ++j) {
        const int64_t n = (panel + j / kVecs) * kPanelColumns + column + (j % kVecs) * V::kLanes;
        StoreLinear<V>(task, row + r, n, acc[r][j]);
      }
    }
  }

  // The next words of K of one panel's columns, onto `sums` [kRows][kPanelColumns]. One line of
  // `fetch` a word is on its way to the cache meanwhile.
  static void RunBlock(const uint32_t* a, const uint32_t* b, int64_t words,
                       const WeightFetch& fetch, float* sums) requires(kPanels == 1) {
    typename V::F32 acc[kRows][kVecs];
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kVecs; ++j) acc[r][j] = V::Load(sums + r * kPanelColumns + j * V::kLanes);
    }
    for (int64_t word = 0; word < words; ++word, b += kPanelColumns, a += kRows) {
      if (word < fetch.lines) __builtin_prefetch(fetch.from + word * kLineWords, 0, kIntoL2);
      Step(a, b, 0, acc);
    }
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kVecs; ++j) V::Store(sums + r * kPanelColumns + j * V::kLanes, acc[r][j]);
    }
  }

 private:
  static void Step(const uint32_t* a, const uint32_t* b, int64_t stride,
                   typename V::F32 (&acc)[kRows][kPanels * kVecs]) {
    typename V::Words weights[kPanels * kVecs];
    for (int j = 0; j < kPanels * kVecs; ++j) {
      weights[j] = V::LoadWords(b + (j / kVecs) * stride + (j % kVecs) * V::kLanes);
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
    if (task.rows > kMaxRows && task.rows <= kMostBlockedRows) return RunBlocks(task);
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

  static void RunBlocks(const LinearTask& task) {
    using V = typename E::Vec;
    alignas(64) float sums[kMostBlockedRows * kPanelColumns];
    for (int64_t panel = task.panel_begin; panel < task.panel_end; ++panel) {
      for (int32_t i = 0; i < task.rows * kPanelColumns; i += V::kLanes) {
        V::Store(sums + i, V::Zero());
      }
      for (int64_t begin = 0; begin < task.words; begin += kBlockWords) {
        RunBlock(task, panel, begin, sums);
      }
      for (int32_t row = 0; row < task.rows; ++row) {
        for (int32_t i = 0; i < kPanelColumns; i += V::kLanes) {
          StoreLinear<V>(task, row, panel * kPanelColumns + i,
                         V::Load(sums + row * kPanelColumns + i));
        }
      }
    }
  }

  // All tiles of a block of K. What it fetches may be of the next panel, or of what comes behind
  // the task's.
  static void RunBlock(const LinearTask& task, int64_t panel, int64_t begin, float* sums) {
    const RowTiles tiles(task.rows, kMaxRows);
    const int64_t words = Smaller<int64_t>(task.words - begin, kBlockWords);
    const uint32_t* const block = task.panels + (panel * task.words + begin) * kPanelColumns;
    constexpr int32_t kPasses = kPanelColumns / (kVecs * E::Vec::kLanes);
    const int64_t share = (kBlockWords * kPanelColumns / kLineWords + tiles.tiles * kPasses - 1) /
                          (tiles.tiles * kPasses);
    WeightFetch fetch = {block + words * kPanelColumns, share};
    for (int32_t column = 0; column < kPanelColumns; column += kVecs * E::Vec::kLanes) {
      for (int32_t tile = 0; tile < tiles.tiles; ++tile, fetch.from += share * kLineWords) {
        const int32_t row = tiles.Begin(tile);
        const int32_t rows = tiles.Count(tile);
        const uint32_t* const a = task.a + row * task.words + begin * rows;
        RunBlockTile<kMaxRows>(rows, a, block + column, words, fetch,
                               sums + row * kPanelColumns + column);
      }
    }
  }

  template <int kRows>
  static void RunBlockTile(int32_t rows, const uint32_t* a, const uint32_t* b, int64_t words,
                           const WeightFetch& fetch, float* sums) {
    if constexpr (kRows > 0) {
      if (rows != kRows) return RunBlockTile<kRows - 1>(rows, a, b, words, fetch, sums);
      LinearTile<E, kRows, 1, kVecs>::RunBlock(a, b, words, fetch, sums);
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
