#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/text/byte_trie.h"
#include "core/text/sentencepiece_spec.h"

namespace quire {

// Cuts text into the most probable pieces under a unigram language model (Kudo, 2018), by Viterbi's
// algorithm, with the arithmetic of SentencePiece 0.2 so that near ties fall alike. Immutable, so
// any thread may use it.
class UnigramModel {
 public:
  // InvalidArgument where no piece is of the type normal.
  static absl::StatusOr<UnigramModel> Build(const SentencePieceSpec& spec);

  struct Piece {
    TokenId id;  // unk_id for a code point without a piece
    uint32_t begin;
    uint32_t end;
  };
  // The pieces of well-formed UTF-8 of less than 2 GiB, in order. O(length x longest piece).
  std::vector<Piece> Encode(std::string_view text) const;

 private:
  explicit UnigramModel(const SentencePieceSpec& spec);

  // The best path to a place in the text.
  struct Node {
    TokenId id = -1;
    float score = 0;
    int32_t begin = -1;  // of its last piece; -1: no path
  };

  float ScoreOf(TokenId id, size_t length) const;
  // Offers all pieces that begin at `begin`; returns how far they reach.
  size_t Extend(std::string_view text, size_t begin, std::vector<Node>& best) const;

  ByteTrie trie_;
  std::vector<float> scores_;  // indexed by id
  std::vector<bool> user_defined_;
  TokenId unk_id_;
  float unk_score_;
};

}  // namespace quire
