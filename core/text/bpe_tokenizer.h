#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/added_tokens.h"
#include "core/text/bpe_model.h"
#include "core/text/normalizer.h"
#include "core/text/pre_tokenizer.h"
#include "core/text/table_tokenizer.h"

namespace quire {

struct TokenizerSpec;

// A tokenizer.json with a BPE model, byte-level (GPT-2, Llama 3, Qwen) or over code points (Llama
// 2, Mistral, Gemma): added tokens are cut out of the text, the rest is normalized, normalized
// added tokens are cut out of that, the rest is split into pieces, and each piece is merged by
// itself.
class BpeTokenizer final : public TableTokenizer {
 public:
  // From the text of a tokenizer.json; errors as LoadTokenizer gives them.
  static absl::StatusOr<std::unique_ptr<BpeTokenizer>> FromJson(std::string_view json_text,
                                                                const TokenizerLimits& limits);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;

 private:
  struct Parts;
  class TextEncoder;

  explicit BpeTokenizer(Parts parts);
  static absl::StatusOr<std::unique_ptr<BpeTokenizer>> Build(TokenizerSpec spec);

  std::vector<TokenId> prefix_;
  std::vector<TokenId> suffix_;
  AddedTokenMatcher verbatim_tokens_;
  Normalizer normalizer_;
  AddedTokenMatcher normalized_tokens_;
  PreTokenizer pre_tokenizer_;
  BpeModel model_;
};

}  // namespace quire
