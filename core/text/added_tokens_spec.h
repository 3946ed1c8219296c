#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/added_tokens.h"
#include "core/text/bpe_model.h"
#include "core/text/tokenizer.h"

namespace quire {

// One entry of added_tokens, all members but the id. For .cc files alone.
absl::StatusOr<AddedToken> AsAddedToken(const nlohmann::json& json, std::string_view where);

// A tokenizer.json's `added_tokens`. Their ids must be those that the `tokenizers` library gives
// them, whatever the file says.
absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const nlohmann::json& root,
                                                        const Vocabulary& vocabulary,
                                                        const TokenizerLimits& limits);

// InvalidArgument where two tokens of different names share an id.
absl::Status RequireUniqueIds(const Vocabulary& vocabulary, const std::vector<AddedToken>& added);

}  // namespace quire
