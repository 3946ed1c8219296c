#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/kv/kv_layout.h"
#include "core/model/model_config.h"

namespace quire {

// InvalidArgument with the allowed values, unless `block_tokens` is a multiple of 16 that divides
// kernels::kAttentionSplit.
absl::Status ValidateBlockTokens(int32_t block_tokens);

// The layout of `config`'s KV blocks, one entry a layer. `block_tokens` must have passed
// ValidateBlockTokens. Pure.
KvLayout MakeKvLayout(const ModelConfig& config, int32_t block_tokens, kernels::DType dtype);

}  // namespace quire
