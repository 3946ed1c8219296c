#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/text/tokenizer.h"

namespace quire {

// A tokenizer whose special tokens have text, their names, for answers that show them. Otherwise
// the same as the one it wraps, which must outlive it. Immutable; any thread.
class SpecialTextTokenizer final : public Tokenizer {
 public:
  explicit SpecialTextTokenizer(const Tokenizer& base);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override {
    return base_.Encode(text, options);
  }
  std::string_view TokenBytes(TokenId id) const override;
  std::string_view BytesAtStart(TokenId id, TextStart& start) const override;
  IllFormed ill_formed() const override { return base_.ill_formed(); }
  bool IsSpecial(TokenId id) const override { return base_.IsSpecial(id); }
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override {
    return base_.Decode(ids, skip_special_tokens);
  }
  int32_t vocab_size() const override { return base_.vocab_size(); }

 private:
  const Tokenizer& base_;
  absl::flat_hash_map<TokenId, std::string> special_;
};

}  // namespace quire
