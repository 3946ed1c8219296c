#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/text/byte_trie.h"
#include "core/text/character_map.h"
#include "core/text/sentencepiece_spec.h"

namespace quire {

// Rewrites a text as SentencePiece does before it cuts it into pieces: applies the character map,
// except to user-defined pieces, drops needless spaces, and spells the others as kSpaceSymbol.
// Immutable, so any thread may use it.
class SentencePieceNormalizer {
 public:
  // InvalidArgument where the character map is damaged.
  static absl::StatusOr<SentencePieceNormalizer> Build(const SentencePieceSpec& spec);

  // Of well-formed UTF-8. InvalidArgument where the result would be more than 16 times as long.
  absl::StatusOr<std::string> Normalize(std::string_view text) const;

  // The longest user-defined piece that `text` begins with.
  ByteTrie::Match UserDefinedPrefix(std::string_view text) const {
    return user_defined_.Longest(text);
  }

 private:
  struct Step {
    size_t length;  // of what is read
    std::string_view output;
  };

  SentencePieceNormalizer(const SentencePieceSpec& spec, CharacterMap character_map);
  Step FirstStep(std::string_view text) const;

  CharacterMap character_map_;
  ByteTrie user_defined_;
  bool add_dummy_prefix_;
  bool remove_extra_whitespaces_;
};

}  // namespace quire
