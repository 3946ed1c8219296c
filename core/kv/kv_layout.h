#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/api/views.h"

namespace quire {

// What a KV block looks like: the one place where its size is computed from the KV groups.
//
//   block_bytes = sum over layers l of
//         align256( block_tokens * 2 * kv_groups[l] * (head_dim[l] * bytes(dtype) + scale) )
//
// where the scale is the 4 bytes that a row of fp8 has beside it, and nothing in other types.
// A model's layers fall into cache classes: those of one class see equally far back, so their KV
// lives equally long. Each class has blocks of its own, and one physical block holds all layers of
// its class, contiguously, so one copy moves it. Plain data; sizes in bytes unless named otherwise.
struct KvLayout {
  struct Layer {
    int32_t kv_groups = 0;
    int32_t head_dim = 0;
    int32_t model_layer = 0;  // which of the model's layers this is
  };

  int32_t block_tokens = 0;  // a multiple of 16 that divides kernels::kAttentionSplit
  kernels::DType dtype = kernels::DType::kBF16;
  // A token sees this many positions back, itself included; 0: all of them.
  int32_t window = 0;
  std::vector<Layer> layers;

  size_t LayerBytes(size_t layer) const;   // of one block, aligned
  size_t LayerOffset(size_t layer) const;  // from the start of a block
  size_t BlockBytes() const;
  // Bytes one token's K and V take, scales included, without the alignment of a block's layers.
  size_t TokenBytes() const;
  int32_t BlocksFor(int64_t tokens) const {
    return static_cast<int32_t>((tokens + block_tokens - 1) / block_tokens);
  }
  // The most blocks a sequence of up to `tokens` tokens names at once, when blocks behind the
  // window are given up once no step on its way needs them and the steps on their way compute at
  // most `in_flight_tokens` of its tokens.
  int32_t MostBlocks(int64_t tokens, int64_t in_flight_tokens) const;
  // How many blocks of a table lie behind the window of every position from `kv_len` on.
  int32_t PassedBlocks(int64_t kv_len) const;
  // The views that kernels work with, one a layer, over an arena that starts at `base`.
  std::vector<kernels::KvLayerView> LayerViews(std::byte* base) const;

 private:
  kernels::KvLayerView Shape(size_t layer, int32_t tokens) const;
};

// A model's cache classes, the one without a window first.
using KvLayouts = std::vector<KvLayout>;

// Bytes one token's K and V take in all classes.
size_t TokenBytes(const KvLayouts& classes);

// The views of all classes' layers, in the order of the model's layers.
std::vector<kernels::KvLayerView> ModelLayerViews(const KvLayouts& classes, std::byte* base);

}  // namespace quire
