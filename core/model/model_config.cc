#include "core/model/model_config.h"

namespace quire {

int64_t ModelConfig::NumParameters() const {
  const int64_t hidden = hidden_size;
  const int64_t inter = intermediate_size;
  const int64_t q = int64_t{num_heads} * head_dim;
  const int64_t embeddings = (tie_word_embeddings ? 1 : 2) * int64_t{vocab_size} * hidden;
  int64_t total = embeddings + hidden;  // and the final norm
  for (const int32_t groups : kv_groups) {
    const int64_t qkv = q + 2 * int64_t{groups} * head_dim;
    total += qkv * hidden + hidden * q + 3 * inter * hidden + 2 * hidden;
    if (attention_bias) total += qkv + hidden;
    if (mlp_bias) total += 2 * inter + hidden;
  }
  return total;
}

}  // namespace quire
