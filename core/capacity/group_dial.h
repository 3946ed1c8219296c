#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/model_config.h"

// The dial from MHA to MQA: how many KV groups the query heads of a layer share.

namespace quire {

// How many KV groups a model of this shape could have, from MHA to MQA (1): the numbers that divide
// the query heads of every layer with attention, falling. Pure.
std::vector<int32_t> GroupCounts(const ModelConfig& config);

// The model with so many groups in every layer that has attention. InvalidArgument names those of
// GroupCounts(). Pure.
absl::StatusOr<ModelConfig> WithKvGroups(const ModelConfig& config, int32_t kv_groups);

}  // namespace quire
