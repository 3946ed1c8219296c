#include "core/text/unigram_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Type = SentencePieceSpec::Type;

constexpr float kUnkPenalty = 10;
// A longer sum starts again, before single precision blurs what is added to it.
constexpr float kScoreReset = 100000;

ByteTrie Pieces(const SentencePieceSpec& spec) {
  std::vector<std::pair<std::string, int32_t>> entries;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const Type type = spec.pieces[i].type;
    if (type != Type::kNormal && type != Type::kUserDefined) continue;
    entries.emplace_back(spec.pieces[i].text, static_cast<int32_t>(i));
  }
  return ByteTrie(std::move(entries));
}

}  // namespace

absl::StatusOr<UnigramModel> UnigramModel::Build(const SentencePieceSpec& spec) {
  if (std::none_of(spec.pieces.begin(), spec.pieces.end(),
                   [](const auto& piece) { return piece.type == Type::kNormal; })) {
    return absl::InvalidArgumentError("a unigram model needs a piece of the type normal");
  }
  return UnigramModel(spec);
}

UnigramModel::UnigramModel(const SentencePieceSpec& spec)
    : trie_(Pieces(spec)), unk_id_(spec.unk_id) {
  float min_score = std::numeric_limits<float>::max();
  for (const SentencePieceSpec::Piece& piece : spec.pieces) {
    scores_.push_back(piece.score);
    user_defined_.push_back(piece.type == Type::kUserDefined);
    if (piece.type == Type::kNormal) min_score = std::min(min_score, piece.score);
  }
  unk_score_ = min_score - kUnkPenalty;
}

// Scores are logarithms of probabilities, so a user-defined piece wins against all that are not.
float UnigramModel::ScoreOf(TokenId id, size_t length) const {
  if (!user_defined_[id]) return scores_[id];
  return static_cast<float>(0.1 * (static_cast<double>(length) - 1));
}

size_t UnigramModel::Extend(std::string_view text, size_t begin, std::vector<Node>& best) const {
  const float score_here = best[begin].score;
  const size_t code_point = FirstCodePoint(text.substr(begin)).length;
  size_t reached = begin + code_point;
  bool has_code_point = false;
  const auto offer = [&](size_t length, TokenId id, float score) {
    Node& node = best[begin + length];
    const float total = score + score_here;
    if (node.begin >= 0 && total <= node.score) return;
    node = {id, total, static_cast<int32_t>(begin)};
  };
  trie_.ForEachPrefix(text.substr(begin), [&](size_t length, TokenId id) {
    offer(length, id, ScoreOf(id, length));
    reached = std::max(reached, begin + length);
    has_code_point = has_code_point || length == code_point;
  });
  if (!has_code_point) offer(code_point, unk_id_, unk_score_);
  return reached;
}

std::vector<UnigramModel::Piece> UnigramModel::Encode(std::string_view text) const {
  std::vector<Node> best(text.size() + 1);
  size_t reached = 0;
  for (size_t i = 0; i < text.size(); i += FirstCodePoint(text.substr(i)).length) {
    if (const float score = best[i].score; std::abs(score) > kScoreReset) {
      for (size_t j = i; j <= reached; ++j) best[j].score -= score;
    }
    reached = std::max(reached, Extend(text, i, best));
  }
  std::vector<Piece> pieces;
  for (auto end = static_cast<int32_t>(text.size()); end > 0; end = best[end].begin) {
    pieces.push_back(
        {best[end].id, static_cast<uint32_t>(best[end].begin), static_cast<uint32_t>(end)});
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

}  // namespace quire
