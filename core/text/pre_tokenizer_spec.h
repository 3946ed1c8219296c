#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/pre_tokenizer.h"

namespace quire {

// A tokenizer.json's `pre_tokenizer`. For .cc files alone.
struct PreTokenizerSpec {
  std::vector<PreTokenizerStage> stages;  // none where the member is absent
  bool byte_level = false;                // ends by spelling its pieces in the byte alphabet
};

absl::StatusOr<PreTokenizerSpec> ReadPreTokenizer(const nlohmann::json& root);

}  // namespace quire
