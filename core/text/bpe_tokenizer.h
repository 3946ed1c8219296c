#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/added_tokens.h"
#include "core/text/bpe_model.h"
#include "core/text/pre_tokenizer.h"
#include "core/text/tokenizer.h"

namespace quire {

struct TokenizerSpec;

// Byte-level BPE as GPT-2, Llama 3 and their relatives use it: added tokens are cut out of the
// text, the rest is pre-tokenized into pieces, and each piece is merged by itself.
class BpeTokenizer final : public Tokenizer {
 public:
  // From the text of a tokenizer.json; errors as LoadTokenizer gives them.
  static absl::StatusOr<std::unique_ptr<BpeTokenizer>> FromJson(std::string_view json_text,
                                                                const TokenizerLimits& limits);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;
  std::string_view TokenBytes(TokenId id) const override;
  bool IsSpecial(TokenId id) const override;
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(tokens_.size()); }

 private:
  struct Token {
    std::string bytes;  // what it decodes to
    bool exists = false;
    bool special = false;
  };

  BpeTokenizer(const TokenizerSpec& spec, PreTokenizer pre_tokenizer, BpeModel model);
  const Token* Find(TokenId id) const;

  std::vector<Token> tokens_;  // indexed by id
  std::vector<TokenId> prefix_;
  std::vector<TokenId> suffix_;
  AddedTokenMatcher added_tokens_;
  PreTokenizer pre_tokenizer_;
  BpeModel model_;
};

}  // namespace quire
