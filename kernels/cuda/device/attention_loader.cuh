#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/api/views.h"
#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/attention_args.h"

namespace quire::kernels::cuda {

// Brings tiles of one sequence's and group's K and V from their blocks into shared memory.
template <class Shape>
class AttentionLoader {
 public:
  // Tokens outside [seen_begin, seen_end) become zeros, and blocks with none inside are not read.
  QUIRE_DEVICE AttentionLoader(const AttentionArgs& args, int sequence, int group, int seen_begin,
                               int seen_end)
      : table_(args.table + args.table_start[sequence]),
        kv_(args.kv),
        group_offset_(static_cast<uint32_t>(group) * args.tile_bytes),
        v_offset_(args.v_offset),
        block_shift_(args.block_shift),
        chunks_(args.head_dim * (Shape::kFp8 ? 1 : 2) / 16),
        begin_(seen_begin),
        end_(seen_end) {
    if constexpr (Shape::kFp8) {
      const int row = group << block_shift_;
      k_scales_ = args.scale_offset + static_cast<uint32_t>(row) * 4;
      v_scales_ = k_scales_ + (static_cast<uint32_t>(args.groups) << block_shift_) * 4;
    }
  }

  // The lane's share of the tile's block table: 16 tokens never lie in two blocks, so lane i has
  // what finds tokens 16 i to 16 i + 15. Asked for one tile ahead, for the time it takes.
  QUIRE_DEVICE uint32_t TableEntry(int lane, int tile_begin) const {
    const int token = tile_begin + lane % (Shape::kTokens / 16) * 16;
    return token < end_ && token + 16 > begin_ ? table_[token >> block_shift_] : 0;
  }

  // Starts the copies of the tile that begins at token tile_begin. [warp]
  template <class Context>
  QUIRE_DEVICE void Copy(Context& context, int tile_begin, uint32_t table_entry, std::byte* stage) {
    constexpr int kCopies = Shape::kTokens * Shape::kChunks;
    constexpr int kPasses = (kCopies + Shape::kThreads - 1) / Shape::kThreads;
    // More would take registers from the products.
    QUIRE_UNROLL_BY_2 for (int pass = 0; pass < kPasses; ++pass) {
      const int i = pass * Shape::kThreads + context.Thread();
      const int row = i / Shape::kChunks;
      const int chunk = i % Shape::kChunks;
      const uint32_t block = context.Shuffle(table_entry, row >> 4);
      if (kCopies % Shape::kThreads != 0 && i >= kCopies) continue;
      const int token = tile_begin + row;
      const bool valid = token >= begin_ && token < end_ && chunk < chunks_;
      const auto in_tile = static_cast<uint32_t>(TokenInBlock(token) * chunks_ + chunk) * 16;
      const std::byte* from = valid ? Block(block) + group_offset_ + in_tile : kv_;
      std::byte* to = stage + (row * Shape::kChunks + (chunk ^ Shape::SwizzleBits(row))) * 16;
      context.CopyAsync16(to, from, valid);
      context.CopyAsync16(to + Shape::kTileBytes, valid ? from + v_offset_ : kv_, valid);
    }
    if constexpr (Shape::kFp8) CopyScales(context, tile_begin, table_entry, stage);
  }

 private:
  // K's scales and then V's, behind the stage's tiles: four tokens a copy.
  template <class Context>
  QUIRE_DEVICE void CopyScales(Context& context, int tile_begin, uint32_t table_entry,
                               std::byte* stage) {
    constexpr int kCopies = Shape::kTokens / 4;
    const int row = context.Thread() % kCopies * 4;
    const bool is_v = context.Thread() >= kCopies;
    const uint32_t block = context.Shuffle(table_entry, row >> 4);
    if (context.Thread() >= 2 * kCopies) return;
    const int token = tile_begin + row;
    const bool valid = token + 4 > begin_ && token < end_;
    const uint32_t offset = is_v ? v_scales_ : k_scales_;
    const std::byte* from =
        valid ? Block(block) + offset + static_cast<uint32_t>(TokenInBlock(token)) * 4 : kv_;
    std::byte* to = stage + 2 * Shape::kTileBytes + (is_v ? Shape::kScaleBytes : 0) + row * 4;
    context.CopyAsync16(to, from, valid);
  }

  QUIRE_DEVICE const std::byte* Block(uint32_t table_entry) const {
    return kv_ + static_cast<size_t>(table_entry) * kKvOffsetUnit;
  }
  QUIRE_DEVICE int TokenInBlock(int token) const { return token & ((1 << block_shift_) - 1); }

  const uint32_t* table_;
  const std::byte* kv_;
  uint32_t group_offset_;
  uint32_t v_offset_;
  uint32_t k_scales_ = 0;
  uint32_t v_scales_ = 0;
  int block_shift_;
  int chunks_;
  int begin_;
  int end_;
};

}  // namespace quire::kernels::cuda
