#include "core/text/tokenizer_config.h"

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/added_tokens_spec.h"
#include "core/text/quoted.h"
#include "core/text/tokenizer_json.h"

namespace quire {
namespace {

// "<s>" or {"content": "<s>", ...}; nullopt where the member is absent or null.
absl::StatusOr<std::optional<std::string>> TokenNameAt(const Json& root, const char* key) {
  const Json* member = FindMember(root, key);
  if (member == nullptr) return std::optional<std::string>();
  QUIRE_ASSIGN_OR_RETURN(std::string name, member->is_object() ? StringAt(*member, "content", key)
                                                               : StringAt(root, key, "file"));
  return std::optional<std::string>(std::move(name));
}

absl::StatusOr<std::optional<bool>> SwitchAt(const Json& root, const char* key) {
  if (FindMember(root, key) == nullptr) return std::optional<bool>();
  QUIRE_ASSIGN_OR_RETURN(const bool value, BoolOr(root, key, false, "file"));
  return std::optional<bool>(value);
}

absl::Status ReadDecoderTokens(const Json& root, const TokenizerLimits& limits,
                               std::vector<AddedToken>& tokens) {
  if (FindMember(root, "added_tokens_decoder") == nullptr) return absl::OkStatus();
  QUIRE_ASSIGN_OR_RETURN(const Json* entries, ObjectAt(root, "added_tokens_decoder", "file"));
  for (const auto& [id, json] : entries->items()) {
    const std::string where = absl::StrCat("added_tokens_decoder[", Quoted(id), "]");
    QUIRE_ASSIGN_OR_RETURN(AddedToken token, AsAddedToken(json, where));
    if (!absl::SimpleAtoi(id, &token.id) || token.id < 0 || token.id >= limits.max_vocab_size) {
      return BadTokenId(where, limits.max_vocab_size);
    }
    tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status ReadConfig(const Json& root, const TokenizerLimits& limits, TokenizerConfig& config) {
  QUIRE_ASSIGN_OR_RETURN(config.add_bos_token, SwitchAt(root, "add_bos_token"));
  QUIRE_ASSIGN_OR_RETURN(config.add_eos_token, SwitchAt(root, "add_eos_token"));
  QUIRE_ASSIGN_OR_RETURN(config.bos_token, TokenNameAt(root, "bos_token"));
  QUIRE_ASSIGN_OR_RETURN(config.eos_token, TokenNameAt(root, "eos_token"));
  return ReadDecoderTokens(root, limits, config.added_tokens);
}

absl::Status ReadAddedTokensFile(const Json& root, const TokenizerLimits& limits,
                                 std::vector<AddedToken>& tokens) {
  absl::flat_hash_map<std::string, TokenId> known;
  for (const AddedToken& token : tokens) known.emplace(token.content, token.id);
  for (const auto& [content, id] : root.items()) {
    const std::string where = Quoted(content);
    const std::optional<TokenId> token_id = AsTokenId(id, limits.max_vocab_size);
    if (!token_id.has_value()) return BadTokenId(where, limits.max_vocab_size);
    const auto entry = known.find(content);
    if (entry == known.end()) {
      QUIRE_ASSIGN_OR_RETURN(AddedToken token, AsAddedToken({{"content", content}}, where));
      token.id = *token_id;
      tokens.push_back(std::move(token));
    } else if (entry->second != *token_id) {
      return SpecError(
          where, absl::StrCat("id ", *token_id, ", but tokenizer_config.json has ", entry->second));
    }
  }
  return absl::OkStatus();
}

// Parses `text` unless it is empty, hands it on, and names the file in errors.
template <typename Read>
absl::Status ReadFileText(std::string_view name, std::string_view text, Read read) {
  if (text.empty()) return absl::OkStatus();
  absl::StatusOr<Json> root = ParseJsonObject(text);
  const absl::Status status = root.ok() ? read(*root) : root.status();
  return status.ok() ? status : SpecError(name, std::string(status.message()));
}

}  // namespace

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(std::string_view tokenizer_config_json,
                                                     std::string_view added_tokens_json,
                                                     const TokenizerLimits& limits) {
  TokenizerConfig config;
  QUIRE_RETURN_IF_ERROR(
      ReadFileText("tokenizer_config.json", tokenizer_config_json,
                   [&](const Json& root) { return ReadConfig(root, limits, config); }));
  QUIRE_RETURN_IF_ERROR(ReadFileText("added_tokens.json", added_tokens_json, [&](const Json& root) {
    return ReadAddedTokensFile(root, limits, config.added_tokens);
  }));
  return config;
}

}  // namespace quire
