#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quire {

// UTF-8 as Unicode chapter 3.9 (table 3-7) defines it: no overlong forms, surrogates or values
// above U+10FFFF. Pure functions; lengths are in bytes.

bool IsValidUtf8(std::string_view bytes);

enum class IllFormed {
  kMaximalSubpart,  // one U+FFFD for each: Rust's from_utf8_lossy, Python's errors="replace"
  kEachByte,        // one U+FFFD for every byte: SentencePiece and byte_fallback
};

// Replaces ill-formed sequences by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view bytes, IllFormed rule = IllFormed::kMaximalSubpart);

struct CodePoint {
  char32_t value;
  size_t length;
};

// The one at the start of non-empty well-formed text.
inline CodePoint FirstCodePoint(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3Fu), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu), 3};
  return {
      (lead & 0x07) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu),
      4};
}

// The last code point's bytes in non-empty well-formed text.
std::string_view LastCodePoint(std::string_view text);

void AppendUtf8(char32_t code_point, std::string& text);

// Length of the longest prefix whose reading no further byte can change: everything but a code
// point that has begun at the end and is well-formed so far.
size_t CompletePrefixLength(std::string_view bytes);

// Length of the run of ASCII at the start.
size_t AsciiPrefixLength(std::string_view bytes);

// Length of the run of White_Space code points at the start or the end of well-formed text.
size_t LeadingWhitespaceLength(std::string_view text);
size_t TrailingWhitespaceLength(std::string_view text);

}  // namespace quire
