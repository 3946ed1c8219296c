#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quire {

// UTF-8 as Unicode chapter 3.9 (table 3-7) defines it: no overlong forms, surrogates or values
// above U+10FFFF. Pure functions; lengths are in bytes.

bool IsValidUtf8(std::string_view bytes);

// Replaces each maximal subpart of an ill-formed sequence by one U+FFFD: the rule of Rust's
// from_utf8_lossy and of Python's errors="replace".
std::string ReplaceInvalidUtf8(std::string_view bytes);

// Length of the longest prefix whose reading no further byte can change: everything but a code
// point that has begun at the end and is well-formed so far.
size_t CompletePrefixLength(std::string_view bytes);

// Length of the run of White_Space code points at the start or the end of well-formed text.
size_t LeadingWhitespaceLength(std::string_view text);
size_t TrailingWhitespaceLength(std::string_view text);

}  // namespace quire
