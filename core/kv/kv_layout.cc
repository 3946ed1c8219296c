#include "core/kv/kv_layout.h"

#include "core/base/check.h"

namespace quire {

size_t KvLayout::LayerBytes(size_t layer) const {
  QUIRE_CHECK(layer < layers.size());
  const size_t bytes = static_cast<size_t>(block_tokens) * 2 *
                       static_cast<size_t>(layers[layer].kv_groups) *
                       static_cast<size_t>(layers[layer].head_dim) * kernels::DTypeBytes(dtype);
  return (bytes + kernels::kKvOffsetUnit - 1) / kernels::kKvOffsetUnit * kernels::kKvOffsetUnit;
}

size_t KvLayout::LayerOffset(size_t layer) const {
  size_t offset = 0;
  for (size_t l = 0; l < layer; ++l) offset += LayerBytes(l);
  return offset;
}

size_t KvLayout::BlockBytes() const { return LayerOffset(layers.size()); }

size_t KvLayout::TokenBytes() const {
  size_t elements = 0;
  for (const Layer& layer : layers) {
    elements += 2 * static_cast<size_t>(layer.kv_groups) * static_cast<size_t>(layer.head_dim);
  }
  return elements * kernels::DTypeBytes(dtype);
}

std::vector<kernels::KvLayerView> KvLayout::LayerViews(std::byte* base) const {
  std::vector<kernels::KvLayerView> views(layers.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    views[l] = {.base = base,
                .layer_offset = LayerOffset(l),
                .block_tokens = block_tokens,
                .kv_groups = layers[l].kv_groups,
                .head_dim = layers[l].head_dim,
                .dtype = dtype};
  }
  return views;
}

}  // namespace quire
