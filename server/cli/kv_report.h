#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "core/capacity/capacity_planner.h"
#include "core/capacity/model_kv_layout.h"
#include "core/model/model_config.h"

// What `quire inspect` says about a model, for people and for machines. Pure functions.

namespace quire::cli {

// "GQA: 32 query heads, 8 KV groups, 4 query heads per group (MHA = 32, MQA = 1)".
std::string DescribeAttention(const ModelConfig& config);

// Four lengths up to `max_positions`, each a quarter of the next, none below 16.
std::vector<int32_t> DefaultContexts(int32_t max_positions);

void PrintModel(const ModelConfig& config, const KvLayouts& classes, std::ostream& out);

// One row a memory size: how many sequences of each context length fit and, with a single cache
// class, blocks and tokens.
void PrintCapacity(const KvLayouts& classes, std::span<const int64_t> memory,
                   std::span<const int32_t> contexts, std::ostream& out);

nlohmann::ordered_json ModelJson(const ModelConfig& config, const KvLayouts& classes,
                                 std::span<const int64_t> memory,
                                 std::span<const int32_t> contexts);

}  // namespace quire::cli
