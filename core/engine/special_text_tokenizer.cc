#include "core/engine/special_text_tokenizer.h"

namespace quire {

SpecialTextTokenizer::SpecialTextTokenizer(const Tokenizer& base) : base_(base) {
  for (TokenId id = 0; id < base.vocab_size(); ++id) {
    if (base.IsSpecial(id)) special_.emplace(id, base.Decode(std::span(&id, 1), false));
  }
}

std::string_view SpecialTextTokenizer::TokenBytes(TokenId id) const {
  const auto it = special_.find(id);
  return it == special_.end() ? base_.TokenBytes(id) : std::string_view(it->second);
}

std::string_view SpecialTextTokenizer::BytesAtStart(TokenId id, TextStart& start) const {
  if (!special_.contains(id)) return base_.BytesAtStart(id, start);
  start.is_over = true;
  return TokenBytes(id);
}

}  // namespace quire
