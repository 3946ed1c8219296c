#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

// SentencePiece's precompiled_charsmap: a double array (Aoe, 1989; in the layout of darts-clone)
// from byte strings to their replacements. Every index and replacement was checked: searching stays
// within it, and well-formed text stays so. Immutable, so any thread may use it.
class CharacterMap {
 public:
  // InvalidArgument where the blob is cut short, has an index outside of itself, or a replacement
  // that is ill-formed UTF-8 or longer than 256 bytes. Empty: no rules.
  static absl::StatusOr<CharacterMap> Parse(std::string_view blob);

  struct Match {
    size_t length;  // of what is replaced
    std::string_view replacement;
  };
  // The longest rule, of at most 256 bytes, that `text` (well-formed UTF-8) begins with and that
  // ends between code points; nullopt where there is none.
  std::optional<Match> Longest(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;  // each ends with a zero byte
};

}  // namespace quire
