#include "core/kv/kv_layout.h"

#include <algorithm>

#include "core/base/check.h"

namespace quire {

kernels::KvLayerView KvLayout::Shape(size_t layer, int32_t tokens) const {
  QUIRE_CHECK(layer < layers.size());
  return {.block_tokens = tokens,
          .kv_groups = layers[layer].kv_groups,
          .head_dim = layers[layer].head_dim,
          .dtype = dtype};
}

size_t KvLayout::LayerBytes(size_t layer) const {
  const size_t bytes = Shape(layer, block_tokens).LayerBytes();
  return (bytes + kernels::kKvOffsetUnit - 1) / kernels::kKvOffsetUnit * kernels::kKvOffsetUnit;
}

size_t KvLayout::LayerOffset(size_t layer) const {
  size_t offset = 0;
  for (size_t l = 0; l < layer; ++l) offset += LayerBytes(l);
  return offset;
}

size_t KvLayout::BlockBytes() const { return LayerOffset(layers.size()); }

size_t KvLayout::TokenBytes() const {
  size_t bytes = 0;
  for (size_t l = 0; l < layers.size(); ++l) bytes += Shape(l, 1).LayerBytes();
  return bytes;
}

size_t TokenBytes(const KvLayouts& classes) {
  size_t bytes = 0;
  for (const KvLayout& layout : classes) bytes += layout.TokenBytes();
  return bytes;
}

int32_t KvLayout::MostBlocks(int64_t tokens, int64_t in_flight_tokens) const {
  const int32_t all = BlocksFor(tokens);
  if (window == 0) return all;
  // From the oldest position that the oldest step on its way sees to the newest step's last one. A
  // run of positions may start at the last slot of a block and end at the first of another.
  const int64_t run = window - 1 + in_flight_tokens;
  return std::min(all, BlocksFor(run) + 1);
}

int32_t KvLayout::PassedBlocks(int64_t kv_len) const {
  if (window == 0) return 0;
  // The next position, kv_len, sees none below this one.
  const int64_t first_seen = std::max<int64_t>(kv_len - window + 1, 0);
  return static_cast<int32_t>(first_seen / block_tokens);
}

std::vector<kernels::KvLayerView> KvLayout::LayerViews(std::byte* base) const {
  std::vector<kernels::KvLayerView> views(layers.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    views[l] = Shape(l, block_tokens);
    views[l].base = base;
    views[l].layer_offset = LayerOffset(l);
  }
  return views;
}

std::vector<kernels::KvLayerView> ModelLayerViews(const KvLayouts& classes, std::byte* base) {
  size_t num_layers = 0;
  for (const KvLayout& layout : classes) num_layers += layout.layers.size();
  std::vector<kernels::KvLayerView> views(num_layers);
  for (size_t c = 0; c < classes.size(); ++c) {
    const std::vector<kernels::KvLayerView> own = classes[c].LayerViews(base);
    for (size_t l = 0; l < own.size(); ++l) {
      const auto layer = static_cast<size_t>(classes[c].layers[l].model_layer);
      QUIRE_CHECK(layer < num_layers && views[layer].kv_groups == 0)
          << "layer " << layer << " is in two classes";
      views[layer] = own[l];
      views[layer].cache_class = static_cast<int32_t>(c);
    }
  }
  return views;
}

}  // namespace quire
