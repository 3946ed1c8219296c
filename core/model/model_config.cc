#include "core/model/model_config.h"

#include <algorithm>

namespace quire {
namespace {

template <typename T, typename U>
T ValueOf(const std::vector<U>& values, size_t layer, T all) {
  return values.empty() ? all : static_cast<T>(values[layer]);
}

int64_t AttentionParameters(const ModelConfig& config, const LayerShape& shape) {
  if (shape.kv_groups == 0) return 0;
  const int64_t hidden = config.hidden_size;
  const int64_t q = int64_t{shape.num_heads} * config.head_dim;
  const int64_t qkv = q + 2 * int64_t{shape.kv_groups} * config.head_dim;
  int64_t total = qkv * hidden + hidden * q + (config.post_norms ? 2 : 1) * hidden;
  if (config.qkv_bias) total += qkv;
  if (config.o_bias) total += hidden;
  if (config.qk_norm) total += 2 * int64_t{config.head_dim};
  return total;
}

int64_t FeedForwardParameters(const ModelConfig& config, const LayerShape& shape) {
  if (shape.intermediate_size == 0) return 0;
  const int64_t hidden = config.hidden_size;
  const int64_t inter = shape.intermediate_size;
  const int64_t total = 3 * inter * hidden + (config.post_norms ? 2 : 1) * hidden;
  return config.mlp_bias ? total + 2 * inter + hidden : total;
}

}  // namespace

LayerShape ModelConfig::Layer(int32_t layer) const {
  const auto l = static_cast<size_t>(layer);
  return {.num_heads = ValueOf(layer_heads, l, num_heads),
          .kv_groups = kv_groups[l],
          .intermediate_size = ValueOf(layer_intermediate_sizes, l, intermediate_size),
          .window = ValueOf(windows, l, 0),
          .rotates = ValueOf(layer_rotates, l, true)};
}

int64_t ModelConfig::NumParameters() const {
  const int64_t embeddings = (tie_word_embeddings ? 1 : 2) * int64_t{vocab_size} * hidden_size;
  int64_t total = embeddings + hidden_size;  // and the final norm
  for (int32_t layer = 0; layer < num_layers; ++layer) {
    const LayerShape shape = Layer(layer);
    total += AttentionParameters(*this, shape) + FeedForwardParameters(*this, shape);
  }
  return total;
}

AttentionShape ShapeOfAttention(const ModelConfig& config) {
  AttentionShape shape;
  for (int32_t l = 0; l < config.num_layers; ++l) {
    const LayerShape layer = config.Layer(l);
    if (layer.kv_groups == 0) continue;
    const int32_t q_per_group = layer.num_heads / layer.kv_groups;
    const bool first = shape.max_groups == 0;
    shape.min_groups = first ? layer.kv_groups : std::min(shape.min_groups, layer.kv_groups);
    shape.max_groups = std::max(shape.max_groups, layer.kv_groups);
    shape.min_q_per_group = first ? q_per_group : std::min(shape.min_q_per_group, q_per_group);
    shape.max_q_per_group = std::max(shape.max_q_per_group, q_per_group);
  }
  if (shape.max_q_per_group == 1) {
    shape.kind = AttentionShape::Kind::kMha;
  } else if (shape.max_groups == 1) {
    shape.kind = AttentionShape::Kind::kMqa;
  }
  return shape;
}

}  // namespace quire
