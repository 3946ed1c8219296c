#pragma once

#include <string>
#include <string_view>

namespace quire {

// Sets of code points as the `tokenizers` library has them, in PCRE2's syntax (UTF | UCP). What
// ends in Members goes between the square brackets of a class, what ends in Pattern matches one
// code point.

bool IsGeneralCategory(std::string_view name);

std::string WhitespaceMembers();                     // White_Space; PCRE2's \s also has U+180E
std::string CategoryMembers(std::string_view name);  // a general category, e.g. "Lu"
std::string ScriptMembers(std::string_view name);    // a script, e.g. "Han"

std::string WordPattern();         // \w of Rust's regex crate
std::string PunctuationPattern();  // the pre-tokenizer Punctuation

}  // namespace quire
