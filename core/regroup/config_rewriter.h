#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/model_config.h"

namespace quire {

// The text of a config.json that ParseModelConfig reads as `config`, changed to say `groups`, KV
// groups by layer (0 where the layer has no attention); everything else stays as it is written.
// Errors are ParseModelConfig's, and Internal where the text cannot say these groups. Pure.
absl::StatusOr<std::string> RewriteKvGroups(const std::string& text, const std::string& where,
                                            const ModelConfig& config,
                                            const std::vector<int32_t>& groups);

// Whether that makes "num_key_value_heads" a list, which Quire reads (core/model/config_reader.h)
// and other programs refuse: where layers differ, and the architecture has no field of its own for
// that, as DeciLM and OpenELM have.
bool IsListOfQuire(const ModelConfig& config, const std::vector<int32_t>& groups);

}  // namespace quire
