#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/text/tokenizer.h"

namespace quire {

// How SentencePiece spells a space.
inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

// The content of a SentencePiece tokenizer.model (Kudo and Richardson, 2018), checked: pieces are
// different, not empty, well-formed UTF-8 of at most 256 bytes with finite scores; exactly one is
// kUnknown; kByte ones are <0x00> to <0xFF>, all or none. A piece's index is its id.
struct SentencePieceSpec {
  enum class Type { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };
  enum class Algorithm { kUnigram = 1, kBpe = 2 };

  std::vector<Piece> pieces;
  Algorithm algorithm = Algorithm::kUnigram;
  TokenId unk_id = 0;
  std::string unk_surface = " \xE2\x81\x87 ";  // what the unknown piece decodes to
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  bool byte_fallback = false;
  std::string character_map;  // see CharacterMap; empty: none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

// Reads the bytes of a tokenizer.model. InvalidArgument names what is malformed or unsupported.
absl::StatusOr<SentencePieceSpec> ParseSentencePieceSpec(std::string_view file,
                                                         const TokenizerLimits& limits);

}  // namespace quire
