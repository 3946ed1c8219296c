#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/api/views.h"

namespace quire {

// What a KV block looks like: the one place where its size is computed from the KV groups.
//
//   block_bytes = sum over layers l of
//                 align256( block_tokens * 2 * kv_groups[l] * head_dim[l] * bytes(dtype) )
//
// One physical block holds all layers, contiguously, so one copy moves it. Plain data; sizes in
// bytes unless named otherwise.
struct KvLayout {
  struct Layer {
    int32_t kv_groups = 0;
    int32_t head_dim = 0;
  };

  int32_t block_tokens = 0;  // a multiple of 16 that divides kernels::kAttentionSplit
  kernels::DType dtype = kernels::DType::kBF16;
  std::vector<Layer> layers;

  size_t LayerBytes(size_t layer) const;   // of one block, aligned
  size_t LayerOffset(size_t layer) const;  // from the start of a block
  size_t BlockBytes() const;
  // Bytes one token's K and V take, without the alignment of a block's layers.
  size_t TokenBytes() const;
  int32_t BlocksFor(int64_t tokens) const {
    return static_cast<int32_t>((tokens + block_tokens - 1) / block_tokens);
  }
  // The views that kernels work with, one a layer, over an arena that starts at `base`.
  std::vector<kernels::KvLayerView> LayerViews(std::byte* base) const;
};

}  // namespace quire
