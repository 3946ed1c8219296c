#pragma once

#include <cstddef>
#include <cstdint>

// What the attention kernels read: the plan of attention_plan.h and the arguments of a launch.

namespace quire::kernels::cuda {

// Rows of attention are the pairs (query token, query head of a group), packed token by token:
// row r of a sequence's part of a group is its token r / q_per_group, head r % q_per_group of the
// group. A tile is what one block works on. Sizes of tiles, in rows:
inline constexpr int32_t kAttentionTiles = 3;
inline constexpr int32_t kAttentionTileRows[kAttentionTiles] = {16, 64, 128};
// The largest one (an index) for a head: longer heads leave no registers for more rows.
constexpr int32_t LargestAttentionTile(int32_t head_dim) { return head_dim > 128 ? 1 : 2; }

// Partial results are addressed in units of so many rows of each group.
inline constexpr int32_t kPartialRows = 16;
// Ranges of KV begin and end at multiples of this, except that the last of a tile ends where the
// last of its rows stops seeing.
inline constexpr int32_t kAttentionKvUnit = 64;

// One tile and a range of KV, for every group.
struct AttentionItem {
  int32_t sequence;
  int32_t row_begin;  // a multiple of the tile's rows
  int32_t kv_begin;
  int32_t kv_end;
  int32_t slot;  // first of the tile's partial results; -1: the range is all, and goes to `out`
};

// A tile whose partial results have to be merged, in order.
struct AttentionMerge {
  int32_t sequence;
  int32_t row_begin;
  int32_t rows;  // that exist
  int32_t first_slot;
  int32_t slot_stride;  // from one range's slot to the next
  int32_t ranges;
};

struct AttentionHeader {
  int32_t item_begin[kAttentionTiles];  // in the list of items, by the size of the tile
  int32_t item_count[kAttentionTiles];
  int32_t merge_count;
  int32_t merges_offset;  // bytes from the first item to the first merge
};

// How the merge kernel shares out a tile: a warp takes so many columns of a row (of several rows,
// kPartialRows apart).
inline constexpr int32_t kAttentionMergeColumns = 64;
inline constexpr int32_t kAttentionMergeWarps = 4;
constexpr int32_t AttentionMergeParts(int32_t head_dim) {
  return (head_dim + kAttentionMergeColumns - 1) / kAttentionMergeColumns;
}
// Blocks for a tile of at most so many rows, in all groups.
constexpr int32_t AttentionMergeBlocks(int32_t rows, int32_t groups, int32_t head_dim) {
  const int32_t units =
      (rows < kPartialRows ? rows : kPartialRows) * groups * AttentionMergeParts(head_dim);
  return (units + kAttentionMergeWarps - 1) / kAttentionMergeWarps;
}

// All pointers are device memory. Rows of Q and of the output are [token][head][head_dim].
struct AttentionArgs {
  const int32_t* q_start;
  const int32_t* kv_len;
  const int32_t* table_start;
  const uint32_t* table;

  const AttentionHeader* header;
  const AttentionItem* items;  // and the merges behind them

  const void* q;
  void* out;
  float* partial_out;  // [slots][groups][kPartialRows][head_dim]
  float* partial_lse;  // [slots][groups][kPartialRows] base-2 logarithm of the sum of exponentials

  const std::byte* kv;    // the arena + the layer's offset in a block
  uint32_t tile_bytes;    // K or V of one group in one block
  uint32_t v_offset;      // from K to V of the same group
  uint32_t scale_offset;  // fp8: to the f32 scales in a block, [K, V][groups][block_tokens]

  int32_t num_heads;
  int32_t groups;
  int32_t head_dim;
  int32_t block_shift;  // log2 of a block's tokens
  int32_t window;       // 0: none
  int32_t split;        // > 0: (max, sum, out) restart at multiples of it and merge in order
  float scale;
  float softcap;  // 0: none
};

}  // namespace quire::kernels::cuda
