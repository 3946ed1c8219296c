#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "core/capacity/capacity_planner.h"
#include "core/capacity/model_kv_layout.h"
#include "core/model/model_config.h"

// What `quire inspect` says about a model, for people and for machines. Pure functions.

namespace quire::cli {

// "GQA: 32 query heads, 8 KV groups, 4 query heads per group (MHA = 32, MQA = 1)".
std::string DescribeAttention(const ModelConfig& config);

void PrintModel(const ModelConfig& config, const KvLayouts& classes, std::ostream& out);

nlohmann::ordered_json ModelJson(const ModelConfig& config, const KvLayouts& classes);

}  // namespace quire::cli
