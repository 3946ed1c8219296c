#include "core/text/token_table.h"

#include <algorithm>
#include <utility>

namespace quire {

void TokenTable::Set(TokenId id, std::string bytes, bool special) {
  if (id >= size()) tokens_.resize(static_cast<size_t>(id) + 1);
  tokens_[id] = {std::move(bytes), true, special};
}

const TokenTable::Token* TokenTable::Find(TokenId id) const {
  const bool exists = id >= 0 && id < size() && tokens_[id].exists;
  return exists ? &tokens_[id] : nullptr;
}

std::string_view TokenTable::TokenBytes(TokenId id) const {
  const Token* token = Find(id);
  return token == nullptr || token->special ? std::string_view() : token->bytes;
}

bool TokenTable::IsSpecial(TokenId id) const {
  const Token* token = Find(id);
  return token != nullptr && token->special;
}

std::string_view TokenTable::BytesAtStart(TokenId id, Tokenizer::TextStart& start) const {
  const Token* token = Find(id);
  return token == nullptr || token->special ? std::string_view() : AtStart(id, *token, start);
}

std::string_view TokenTable::StripCopies(std::string_view bytes,
                                         Tokenizer::TextStart& start) const {
  while (start.stripped < leading_.count && bytes.starts_with(leading_.content)) {
    bytes.remove_prefix(leading_.content.size());
    ++start.stripped;
  }
  start.is_over = !bytes.empty() || start.stripped == leading_.count;
  return bytes;
}

std::string_view TokenTable::AtStart(TokenId id, const Token& token,
                                     Tokenizer::TextStart& start) const {
  if (start.is_over) return token.bytes;
  if (leading_.rule == LeadingStrip::Rule::kCopies) return StripCopies(token.bytes, start);
  start.is_over = true;
  if (leading_.rule == LeadingStrip::Rule::kNothing) return token.bytes;
  const auto entry = at_start_.find(id);
  if (entry != at_start_.end()) ++start.stripped;
  const std::string_view bytes = entry == at_start_.end() ? token.bytes : entry->second;
  if (leading_.rule == LeadingStrip::Rule::kTokensUntilText) {
    start.is_over = !bytes.empty() || start.stripped == leading_.count;
  }
  return bytes;
}

std::string TokenTable::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string bytes;
  Tokenizer::TextStart start;
  for (TokenId id : ids) {
    const Token* token = Find(id);
    if (token == nullptr || (skip_special_tokens && token->special)) continue;
    bytes += AtStart(id, *token, start);
  }
  return ReplaceInvalidUtf8(bytes, ill_formed_);
}

}  // namespace quire
