#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/added_tokens.h"
#include "core/text/tokenizer.h"

namespace quire {

// What stands beside a tokenizer.model about special tokens: tokenizer_config.json and
// added_tokens.json.
struct TokenizerConfig {
  std::vector<AddedToken> added_tokens;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
};

// Reads the texts of the two files, each empty where there is none. Where both name a token they
// must agree. Tokens of added_tokens.json alone are not special. Errors name file and member.
absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(std::string_view tokenizer_config_json,
                                                     std::string_view added_tokens_json,
                                                     const TokenizerLimits& limits);

}  // namespace quire
