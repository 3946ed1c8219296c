#include "core/text/sentencepiece_bpe.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Type = SentencePieceSpec::Type;

absl::string_view Key(std::string_view text) { return {text.data(), text.size()}; }

// Distinct scores, highest first; a score's place is its rank.
std::vector<float> RankedScores(const SentencePieceSpec& spec) {
  std::vector<float> scores;
  for (const SentencePieceSpec::Piece& piece : spec.pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  return scores;
}

class MergeFinder {
 public:
  MergeFinder(const SentencePieceSpec& spec, size_t max_merges, BpeSpec& bpe)
      : bpe_(bpe), max_merges_(max_merges), scores_(RankedScores(spec)) {
    for (const SentencePieceSpec::Piece& piece : spec.pieces)
      types_.emplace(piece.text, piece.type);
  }

  absl::Status AddPiece(const SentencePieceSpec::Piece& piece) {
    const auto rank =
        std::lower_bound(scores_.begin(), scores_.end(), piece.score, std::greater<>()) -
        scores_.begin();
    const std::string_view text = piece.text;
    for (size_t i = 0; i < text.size(); i += FirstCodePoint(text.substr(i)).length) {
      QUIRE_RETURN_IF_ERROR(CheckCodePoint(text, i));
      if (i == 0 || !IsNormal(text.substr(0, i)) || !IsNormal(text.substr(i))) continue;
      if (bpe_.merges.size() >= max_merges_) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the pieces can be made of each other in more than ", max_merges_, " ways"));
      }
      bpe_.merges.emplace_back(text.substr(0, i), text.substr(i));
      bpe_.merge_ranks.push_back(static_cast<uint32_t>(rank));
    }
    return absl::OkStatus();
  }

 private:
  bool IsNormal(std::string_view text) const {
    const auto entry = types_.find(Key(text));
    return entry != types_.end() && entry->second == Type::kNormal;
  }

  absl::Status CheckCodePoint(std::string_view text, size_t at) const {
    const std::string_view c = text.substr(at, FirstCodePoint(text.substr(at)).length);
    if (types_.contains(Key(c))) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("piece ", Quoted(text), " has the character ",
                                                   Quoted(c), ", which is no piece itself"));
  }

  BpeSpec& bpe_;
  size_t max_merges_;
  std::vector<float> scores_;
  absl::flat_hash_map<absl::string_view, Type> types_;
};

}  // namespace

absl::StatusOr<BpeSpec> BpeSpecOf(const SentencePieceSpec& spec, const TokenizerLimits& limits) {
  BpeSpec bpe;
  bpe.byte_fallback = spec.byte_fallback;
  bpe.unk_token = spec.pieces[spec.unk_id].text;
  bpe.fuse_unk = true;
  MergeFinder finder(spec, limits.max_merges, bpe);
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const SentencePieceSpec::Piece& piece = spec.pieces[i];
    if (piece.type == Type::kUnused) {
      return absl::InvalidArgumentError(absl::StrCat(
          "piece ", i, " ", Quoted(piece.text), " is unused, which a BPE model must not have"));
    }
    if (piece.type == Type::kControl || piece.type == Type::kUserDefined) continue;
    bpe.vocabulary.emplace_back(piece.text, static_cast<TokenId>(i));
    if (piece.type == Type::kNormal) QUIRE_RETURN_IF_ERROR(finder.AddPiece(piece));
  }
  return bpe;
}

}  // namespace quire
