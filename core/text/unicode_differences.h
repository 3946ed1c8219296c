#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace quire {

// Where the Unicode tables behind the `tokenizers` library's components differ from those of
// utf8proc (Unicode 15) and PCRE2 10.42 (Unicode 14), found by comparing every code point. With
// newer libraries the entries stay right: they state what `tokenizers` does.
struct CodePointRange {
  uint32_t first;
  uint32_t last;
};

// Its NFC, NFD, NFKC, NFKD and StripAccents follow Unicode 9: code points assigned since neither
// decompose, compose, reorder nor count as marks. Those of UnicodeAdditions() belong here, too.
std::span<const CodePointRange> UnknownToNormalizers();

// Its Lowercase knows these capitals, which utf8proc does not; `first` + i becomes `lower` + i.
struct CapitalRange {
  uint32_t first;
  uint32_t last;
  uint32_t lower;
};
std::span<const CapitalRange> AddedCapitals();

// Its Punctuation follows Unicode 8: punctuation assigned since does not count.
std::span<const CodePointRange> UnknownPunctuation();

// Code points of the script `name` that Unicode 15 and 16 assigned.
struct ScriptAddition {
  std::string_view script;
  uint32_t first;
  uint32_t last;
};
std::span<const ScriptAddition> ScriptAdditions();

// Scripts that PCRE2 and Oniguruma agree on, given the additions.
bool IsKnownScript(std::string_view name);

}  // namespace quire
