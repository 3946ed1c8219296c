#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/text/bpe_tokenizer.h"
#include "core/text/tokenizer.h"

namespace quire::testing {

// `bytes` spelled in the byte-level alphabet, written from its definition and not with the code
// under test.
std::string Spell(std::string_view bytes);

// A tokenizer.json in GPT-2's form. Byte b has id b; the merge number i, of two texts given in
// plain bytes, makes the token 256 + i.
nlohmann::json Gpt2Json(const std::vector<std::pair<std::string, std::string>>& merges);

// An entry of added_tokens with all switches off.
nlohmann::json AddedTokenJson(TokenId id, std::string content, bool special);

// The pre-tokenizer Sequence[Split{pattern, Isolated}, ByteLevel] of Llama 3 and its kin.
nlohmann::json SplitJson(std::string pattern);

// A post-processor that puts `token` before a text.
nlohmann::json PrefixTemplateJson(std::string token, TokenId id);

// Loads what must load; otherwise the test program ends with the status.
std::unique_ptr<BpeTokenizer> MustLoad(const nlohmann::json& json);

}  // namespace quire::testing
