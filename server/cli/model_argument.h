#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/model_config.h"

// What commands that look at a model's shape take.

namespace quire::cli {

// A model directory, or the name of a known shape. NotFound lists those.
absl::StatusOr<ModelConfig> FindModel(const std::string& model);
std::string FindModelHelp();

// Of --groups: numbers, "all" for GroupCounts(), "own" for none but the model's own.
absl::StatusOr<std::vector<int32_t>> ParseGroups(const std::vector<std::string>& texts,
                                                 const ModelConfig& config);

// "f32", "f16", "bf16", "fp8_e4m3" and "int8".
std::vector<std::string> KvDTypeNames();
// One of those; any other text: `compute`, as the server chooses.
kernels::DType ChooseKvDType(const std::string& name, kernels::DType compute);

}  // namespace quire::cli
