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
// from byte strings to their replacements. Every index was checked, so that searching stays within
// it. Immutable, so any thread may use it.
class CharacterMap {
 public:
  // InvalidArgument where the blob is cut short or has an index outside of itself. Empty: no rules.
  static absl::StatusOr<CharacterMap> Parse(std::string_view blob);

  struct Match {
    size_t length;  // of what is replaced
    std::string_view replacement;
  };
  // The longest rule that `text` begins with; nullopt where there is none.
  std::optional<Match> Longest(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;  // each ends with a zero byte
};

}  // namespace quire
