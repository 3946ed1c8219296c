#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/text/tokenizer.h"

namespace quire {

// What a tokenizer.json's `post_processor` puts around a single text, e.g. <s>. For .cc files
// alone.
struct TemplateSpec {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};

absl::StatusOr<TemplateSpec> ReadPostProcessor(const nlohmann::json& root,
                                               const TokenizerLimits& limits);

}  // namespace quire
