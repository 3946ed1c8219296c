#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/added_tokens.h"
#include "core/text/bpe_model.h"
#include "core/text/sentencepiece_normalizer.h"
#include "core/text/sentencepiece_spec.h"
#include "core/text/table_tokenizer.h"
#include "core/text/tokenizer_config.h"
#include "core/text/unigram_model.h"

namespace quire {

// A SentencePiece tokenizer.model, unigram or BPE: control pieces and the configured special tokens
// are cut out of the text, and what lies between them becomes the ids that SentencePiece gives it
// by itself, a dummy prefix included.
class SentencePieceTokenizer final : public TableTokenizer {
 public:
  // From the bytes of a tokenizer.model. A beginning-of-sequence token is put before a text unless
  // the configuration says otherwise. Errors as LoadTokenizer gives them.
  static absl::StatusOr<std::unique_ptr<SentencePieceTokenizer>> FromModel(
      std::string_view file, const TokenizerConfig& config, const TokenizerLimits& limits);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;

 private:
  using Model = std::variant<BpeModel, UnigramModel>;
  struct Parts;

  explicit SentencePieceTokenizer(Parts parts);
  static absl::StatusOr<std::unique_ptr<SentencePieceTokenizer>> Build(
      SentencePieceSpec spec, const TokenizerConfig& config, const TokenizerLimits& limits);

  absl::Status EncodeText(std::string_view text, BpeModel::Scratch& scratch,
                          std::vector<TokenId>& ids) const;
  void EncodeByMerges(const BpeModel& model, std::string_view text, BpeModel::Scratch& scratch,
                      std::vector<TokenId>& ids) const;
  void EncodeByScores(const UnigramModel& model, std::string_view text,
                      std::vector<TokenId>& ids) const;

  AddedTokenMatcher added_tokens_;
  SentencePieceNormalizer normalizer_;
  Model model_;
  std::vector<TokenId> byte_ids_;  // of byte fallback, or empty
  TokenId unk_id_;
  std::vector<TokenId> prefix_;
  std::vector<TokenId> suffix_;
};

}  // namespace quire
