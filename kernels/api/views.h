#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/api/sampling.h"
#include "kernels/api/types.h"

// Views over device memory: what a step hands to the operations. They own nothing.

namespace quire::kernels {

// Block addresses travel as multiples of this many bytes, so that 32 bits reach 1 TiB of arena.
inline constexpr size_t kKvOffsetUnit = 256;

// Layers of a model that see equally far back share a cache class: blocks of one size and one
// block table a sequence. No model known has more than two.
inline constexpr int32_t kMaxCacheClasses = 4;

// How much the caller's buffers hold: fixed for the life of a runner, so that it can be baked into
// a captured graph.
struct BatchCapacity {
  int32_t tokens = 0;         // query tokens a step
  int32_t sequences = 0;      // sequences a step
  int32_t table_entries = 0;  // block table entries of all sequences together, in each class
  int32_t logit_rows = 0;     // rows a step for which logits are computed
};

// How much of the capacity this step uses. Lies in device memory.
struct BatchCounts {
  int32_t tokens = 0;
  int32_t sequences = 0;
  int32_t logit_rows = 0;
};

// The block tables of one cache class. A block behind the class's window may be gone: its entry is
// not read.
struct BlockTablesView {
  const int32_t* start = nullptr;     // [sequences + 1] first entry of each sequence
  const uint32_t* offsets = nullptr;  // [table_entries] in units of kKvOffsetUnit
};

// One step's input: a ragged batch of query tokens, each sequence's tokens consecutive. All
// pointers are device memory, with room for `capacity`; the first `*counts` entries are valid.
struct BatchView {
  BatchCapacity capacity;
  const BatchCounts* counts = nullptr;
  // [tokens] A value v >= 0 is a vocabulary id; v < 0 stands for the id that the step before
  // sampled in its logit row -1 - v (only where that step may still be running).
  const int32_t* token_ids = nullptr;
  const int32_t* positions = nullptr;   // [tokens] absolute position in the sequence
  const int32_t* q_start = nullptr;     // [sequences + 1] first token of each sequence
  const int32_t* kv_len = nullptr;      // [sequences] KV length after this step's tokens
  const int32_t* logit_rows = nullptr;  // [logit_rows] token indices whose logits are wanted
  BlockTablesView tables[kMaxCacheClasses];
  int32_t num_classes = 1;
};

// The same numbers where the host can read them.
struct BatchHostView {
  std::span<const int32_t> q_start;  // [sequences + 1]
  std::span<const int32_t> kv_len;   // [sequences]
};

// What stands beside each row of a tile: a type of one byte has an f32 scale, that of the row's
// largest element.
constexpr size_t KvScaleBytes(DType dtype) { return DTypeBytes(dtype) == 1 ? sizeof(float) : 0; }

// Where one layer's keys and values lie inside every block, and what they look like. Inside a
// block a layer holds kv_groups K tiles, then kv_groups V tiles, each block_tokens x head_dim
// elements, then the rows' scales where there are any, [K, V][kv_groups][block_tokens]. The order
// of elements inside a tile is the back end's own.
struct KvLayerView {
  std::byte* base = nullptr;  // start of the arena
  size_t layer_offset = 0;    // bytes from the start of a block to this layer
  int32_t cache_class = 0;    // whose block tables find this layer's blocks
  int32_t block_tokens = 0;
  int32_t kv_groups = 0;
  int32_t head_dim = 0;
  DType dtype = DType::kBF16;

  constexpr size_t TileBytes() const {
    return static_cast<size_t>(block_tokens) * static_cast<size_t>(head_dim) * DTypeBytes(dtype);
  }
  constexpr size_t ScaleOffset() const {  // from the start of the layer
    return 2 * static_cast<size_t>(kv_groups) * TileBytes();
  }
  constexpr size_t LayerBytes() const {  // of one block
    return ScaleOffset() + 2 * static_cast<size_t>(kv_groups) * static_cast<size_t>(block_tokens) *
                               KvScaleBytes(dtype);
  }
  std::byte* KTile(uint32_t block_offset, int32_t group) const {
    return base + block_offset * kKvOffsetUnit + layer_offset +
           static_cast<size_t>(group) * TileBytes();
  }
  std::byte* VTile(uint32_t block_offset, int32_t group) const {
    return KTile(block_offset, kv_groups + group);
  }
  // [block_tokens]; those of V where `group` is kv_groups more.
  std::byte* Scales(uint32_t block_offset, int32_t group) const {
    return KTile(block_offset, 0) + ScaleOffset() +
           static_cast<size_t>(group) * static_cast<size_t>(block_tokens) * KvScaleBytes(dtype);
  }
};

}  // namespace quire::kernels
