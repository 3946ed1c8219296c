#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/attention_args.h"

namespace quire::kernels::cuda {

// One instantiation of the attention kernel, and where things lie in its shared memory. Element is
// the type of Q, the output and the products; KV is the same or fp8. head_dim may be smaller than
// kHeadDim: the rest is zero. A warp works on 16 rows; with kKvWarps > 1 all warps work on the same
// rows and share the tokens of each KV tile.
template <typename ElementType, bool kFp8Kv, int kHeadDimMax, int kRowWarpCount, int kKvWarpCount>
struct AttentionShape {
  using Element = ElementType;
  static constexpr bool kFp8 = kFp8Kv;
  static constexpr int kHeadDim = kHeadDimMax;
  static constexpr int kRowWarps = kRowWarpCount;
  static constexpr int kKvWarps = kKvWarpCount;
  static constexpr int kThreads = 32 * kRowWarps * kKvWarps;
  static constexpr int kRows = 16 * kRowWarps;
  static constexpr int kTileClass = kRows == 16 ? 0 : kRows == 64 ? 1 : 2;
  static_assert(kAttentionTileRows[kTileClass] == kRows);

  // A tile of KV. Registers bound it where the accumulators of a long head take most of them.
  static constexpr int kTokens = kHeadDim > 128 && kKvWarps == 1 ? 32 : 64;
  static constexpr int kWarpTokens = kTokens / kKvWarps;
  static constexpr int kStages = kFp8 || kHeadDim < 128 ? 3 : 2;

  static constexpr int kChunks = kHeadDim * (kFp8 ? 1 : 2) / 16;  // of 16 bytes, in a token's row
  static constexpr int kTileBytes = kTokens * kChunks * 16;
  static constexpr int kScaleBytes = kFp8 ? kTokens * 4 : 0;  // of K, or of V
  static constexpr int kStageBytes = 2 * (kTileBytes + kScaleBytes);
  static constexpr int kRingBytes = kStages * kStageBytes;

  // Q stays in registers unless they would be too many.
  static constexpr bool kQInShared = kHeadDim > 128;
  static constexpr int kQBytes = kQInShared ? kRows * kHeadDim * 2 : 0;

  // The KV warps' results meet where the ring was. Eight floats more a row spread the banks.
  static constexpr int kMergeStride = kHeadDim + 8;
  static constexpr int kMergeRows = kKvWarps > 1 ? kKvWarps* kRows : 0;
  static constexpr int kMergeBytes = kMergeRows * (kMergeStride + 2) * 4;

  static constexpr int kQOffset = kRingBytes > kMergeBytes ? kRingBytes : kMergeBytes;
  // The running result where (max, sum, out) restart: out, then two turns of (max, sum).
  static constexpr int kOuterOffset = kQOffset + kQBytes;
  static constexpr int kOuterBytes = kKvWarps > 1 ? kRows*(kHeadDim + 4) * 4 : 0;
  static constexpr int kSharedBytes = kOuterOffset;
  static constexpr int kSharedBytesSplit = kOuterOffset + kOuterBytes;

  // Chunk c of row r is stored at chunk c ^ SwizzleBits(r), so that the eight rows of an 8x8 matrix
  // lie in different banks: rows repeat their bank after 8 / unit of them, and the chunks of a unit
  // change places.
  static constexpr int kSwizzleUnit = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : 2;
  static_assert(kChunks % kSwizzleUnit == 0);
  static QUIRE_DEVICE int SwizzleBits(int row) { return row / (8 / kSwizzleUnit) % kSwizzleUnit; }
};

}  // namespace quire::kernels::cuda
