#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/kv/kv_layout.h"
#include "core/model/model_config.h"

namespace quire {

// InvalidArgument with the allowed values, unless `block_tokens` is a multiple of 16 that divides
// kernels::kAttentionSplit.
absl::Status ValidateBlockTokens(int32_t block_tokens);

// The type of keys and values: what is computed in, unless `narrow`, the device's type of one byte,
// is `wanted`. InvalidArgument otherwise, with what to change. Pure.
absl::StatusOr<kernels::DType> ChooseKvDType(std::optional<kernels::DType> wanted,
                                             kernels::DType compute, kernels::DType narrow);

// The cache classes of `config`: layers that see equally far back, the unlimited ones first.
// A window that no context of `context_tokens` (0: of the model's own length) outgrows is none.
// `block_tokens` must have passed ValidateBlockTokens. Pure.
KvLayouts MakeKvLayouts(const ModelConfig& config, int32_t block_tokens, kernels::DType dtype,
                        int32_t context_tokens = 0);

// All layers in one class that keeps every token, as if none had a window. Pure.
KvLayout MakeKvLayout(const ModelConfig& config, int32_t block_tokens, kernels::DType dtype);

}  // namespace quire
