#include "core/text/character_sets.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/text/unicode_additions.h"
#include "core/text/unicode_differences.h"

namespace quire {
namespace {

void AppendRange(std::string& members, uint32_t first, uint32_t last) {
  absl::StrAppendFormat(&members, "\\x{%X}-\\x{%X}", first, last);
}

}  // namespace

bool IsGeneralCategory(std::string_view name) {
  constexpr std::array<std::string_view, 33> kNames = {
      "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",
      "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
      "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Cc", "Cf"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

std::string WhitespaceMembers() {
  return "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"
         "\\x{205F}\\x{3000}";
}

std::string CategoryMembers(std::string_view name) {
  std::string members = absl::StrCat("\\p{", std::string(name), "}");
  for (const UnicodeAddition& addition : UnicodeAdditions()) {
    if (!std::string_view(addition.category).starts_with(name)) continue;
    AppendRange(members, addition.first, addition.last);
  }
  return members;
}

std::string ScriptMembers(std::string_view name) {
  // Without the prefix PCRE2 would take script extensions, which Oniguruma does not know.
  std::string members = absl::StrCat("\\p{sc:", std::string(name), "}");
  for (const ScriptAddition& addition : ScriptAdditions()) {
    if (addition.script == name) AppendRange(members, addition.first, addition.last);
  }
  return members;
}

std::string WordPattern() {
  return absl::StrCat("[\\p{Alphabetic}\\p{Pc}\\p{Join_Control}", CategoryMembers("L"),
                      CategoryMembers("M"), CategoryMembers("Nd"), "]");
}

std::string PunctuationPattern() {
  std::string unknown;
  for (const CodePointRange& range : UnknownPunctuation()) {
    AppendRange(unknown, range.first, range.last);
  }
  // U+166D and U+111C9 have become a symbol and a mark since.
  return absl::StrCat("(?![", unknown, "])[!-/:-@\\[-`{-~\\p{P}\\x{166D}\\x{111C9}]");
}

}  // namespace quire
