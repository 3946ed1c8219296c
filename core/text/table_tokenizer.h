#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/text/token_table.h"
#include "core/text/tokenizer.h"

namespace quire {

// The half of a tokenizer that turns ids into text, from a table of its tokens.
class TableTokenizer : public Tokenizer {
 public:
  std::string_view TokenBytes(TokenId id) const final { return tokens_.TokenBytes(id); }
  std::string_view BytesAtStart(TokenId id, TextStart& start) const final {
    return tokens_.BytesAtStart(id, start);
  }
  IllFormed ill_formed() const final { return tokens_.ill_formed(); }
  bool IsSpecial(TokenId id) const final { return tokens_.IsSpecial(id); }
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const final {
    return tokens_.Decode(ids, skip_special_tokens);
  }
  int32_t vocab_size() const final { return tokens_.size(); }

 protected:
  explicit TableTokenizer(TokenTable tokens) : tokens_(std::move(tokens)) {}

 private:
  TokenTable tokens_;
};

}  // namespace quire
