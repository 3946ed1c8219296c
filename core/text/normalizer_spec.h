#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/normalizer.h"

namespace quire {

// The stages of a tokenizer.json's `normalizer`; none where it is absent. For .cc files alone.
absl::StatusOr<std::vector<NormalizerStage>> ReadNormalizer(const nlohmann::json& root);

}  // namespace quire
