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
#include "core/text/token_table.h"
#include "core/text/tokenizer.h"
#include "core/text/tokenizer_config.h"
#include "core/text/unigram_model.h"

namespace quire {

// A SentencePiece tokenizer.model, unigram or BPE: control pieces and the configured special tokens
// are cut out of the text, and what lies between them becomes the ids that SentencePiece gives it
// by itself, a dummy prefix included.
class SentencePieceTokenizer final : public Tokenizer {
 public:
  // From the bytes of a tokenizer.model. A beginning-of-sequence token is put before a text unless
  // the configuration says otherwise. Errors as LoadTokenizer gives them.
  static absl::StatusOr<std::unique_ptr<SentencePieceTokenizer>> FromModel(
      std::string_view file, const TokenizerConfig& config, const TokenizerLimits& limits);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;
  std::string_view TokenBytes(TokenId id) const override { return tokens_.TokenBytes(id); }
  std::string_view BytesAtStart(TokenId id, TextStart& start) const override {
    return tokens_.BytesAtStart(id, start);
  }
  IllFormed ill_formed() const override { return tokens_.ill_formed(); }
  bool IsSpecial(TokenId id) const override { return tokens_.IsSpecial(id); }
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override {
    return tokens_.Decode(ids, skip_special_tokens);
  }
  int32_t vocab_size() const override { return tokens_.size(); }

 private:
  using Model = std::variant<BpeModel, UnigramModel>;
  struct Parts;

  explicit SentencePieceTokenizer(Parts parts);
  static absl::StatusOr<std::unique_ptr<SentencePieceTokenizer>> Build(
      const SentencePieceSpec& spec, const TokenizerConfig& config);

  absl::Status EncodeText(std::string_view text, BpeModel::Scratch& scratch,
                          std::vector<TokenId>& ids) const;
  void EncodeByMerges(const BpeModel& model, std::string_view text, BpeModel::Scratch& scratch,
                      std::vector<TokenId>& ids) const;
  void EncodeByScores(const UnigramModel& model, std::string_view text,
                      std::vector<TokenId>& ids) const;

  TokenTable tokens_;
  AddedTokenMatcher added_tokens_;
  SentencePieceNormalizer normalizer_;
  Model model_;
  std::vector<TokenId> byte_ids_;  // of byte fallback, or empty
  TokenId unk_id_;
  std::vector<TokenId> prefix_;
  std::vector<TokenId> suffix_;
};

}  // namespace quire
