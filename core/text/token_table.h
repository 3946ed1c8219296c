#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "core/text/token_decoder.h"
#include "core/text/tokenizer.h"
#include "core/text/utf8.h"

namespace quire {

// The bytes of every token, and how they become text. Immutable once filled, so any thread may use
// it; views that it returns live as long as it does.
class TokenTable {
 public:
  TokenTable(IllFormed ill_formed, LeadingStrip leading)
      : ill_formed_(ill_formed), leading_(std::move(leading)) {}

  // Ids are not negative; the table grows to the largest. A second Set of an id replaces the first.
  void Set(TokenId id, std::string bytes, bool special);
  // The bytes that the token adds where the leading rule says so; of tokens that have others.
  void SetAtStart(TokenId id, std::string bytes) { at_start_[id] = std::move(bytes); }

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool Has(TokenId id) const { return Find(id) != nullptr; }
  IllFormed ill_formed() const { return ill_formed_; }

  // As the methods of Tokenizer.
  std::string_view TokenBytes(TokenId id) const;
  std::string_view BytesAtStart(TokenId id, Tokenizer::TextStart& start) const;
  bool IsSpecial(TokenId id) const;
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const;

 private:
  struct Token {
    std::string bytes;
    bool exists = false;
    bool special = false;
  };

  const Token* Find(TokenId id) const;
  std::string_view StripCopies(std::string_view bytes, Tokenizer::TextStart& start) const;
  std::string_view AtStart(TokenId id, const Token& token, Tokenizer::TextStart& start) const;

  IllFormed ill_formed_;
  LeadingStrip leading_;
  std::vector<Token> tokens_;  // indexed by id
  absl::flat_hash_map<TokenId, std::string> at_start_;
};

}  // namespace quire
