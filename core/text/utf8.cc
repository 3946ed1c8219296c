#include "core/text/utf8.h"

#include <cstdint>
#include <cstring>

namespace quire {
namespace {

enum class UnitKind { kValid, kInvalid, kTruncated };

// A code point, or the maximal subpart of an ill-formed one, at the start of some bytes.
struct Unit {
  size_t length;
  UnitKind kind;
};

size_t ContinuationCount(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return 1;
  if (lead >= 0xE0 && lead <= 0xEF) return 2;
  if (lead >= 0xF0 && lead <= 0xF4) return 3;
  return 0;
}

Unit FirstUnit(std::string_view bytes) {
  const auto lead = static_cast<uint8_t>(bytes[0]);
  if (lead < 0x80) return {1, UnitKind::kValid};
  const size_t continuations = ContinuationCount(lead);
  if (continuations == 0) return {1, UnitKind::kInvalid};
  // Only the byte after the lead has a narrower range: it excludes overlong forms, surrogates and
  // values above U+10FFFF.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i <= continuations; ++i) {
    if (i == bytes.size()) return {i, UnitKind::kTruncated};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    if (byte < low || byte > high) return {i, UnitKind::kInvalid};
    low = 0x80;
    high = 0xBF;
  }
  return {continuations + 1, UnitKind::kValid};
}

bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// `code_point` is the encoding of one code point above U+007F.
bool IsWideWhitespace(std::string_view code_point) {
  if (code_point == "\xC2\x85" || code_point == "\xC2\xA0") return true;
  if (code_point == "\xE1\x9A\x80" || code_point == "\xE2\x81\x9F") return true;
  if (code_point == "\xE3\x80\x80") return true;
  if (code_point.size() != 3 || code_point.substr(0, 2) != "\xE2\x80") return false;
  const auto last = static_cast<uint8_t>(code_point[2]);
  return (last >= 0x80 && last <= 0x8A) || last == 0xA8 || last == 0xA9 || last == 0xAF;
}

bool IsWhitespace(std::string_view code_point) {
  if (code_point.size() > 1) return IsWideWhitespace(code_point);
  return code_point == " " || (code_point[0] >= '\t' && code_point[0] <= '\r');
}

}  // namespace

size_t AsciiPrefixLength(std::string_view bytes) {
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (i < bytes.size() && static_cast<uint8_t>(bytes[i]) < 0x80) ++i;
  return i;
}

bool IsValidUtf8(std::string_view bytes) {
  while (true) {
    bytes.remove_prefix(AsciiPrefixLength(bytes));
    if (bytes.empty()) return true;
    const Unit unit = FirstUnit(bytes);
    if (unit.kind != UnitKind::kValid) return false;
    bytes.remove_prefix(unit.length);
  }
}

std::string ReplaceInvalidUtf8(std::string_view bytes, IllFormed rule) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Unit unit = FirstUnit(bytes);
    const bool valid = unit.kind == UnitKind::kValid;
    text += valid ? bytes.substr(0, unit.length) : "\xEF\xBF\xBD";
    bytes.remove_prefix(valid || rule == IllFormed::kMaximalSubpart ? unit.length : 1);
  }
  return text;
}

std::string_view LastCodePoint(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && IsContinuation(text[start])) --start;
  return text.substr(start);
}

void AppendUtf8(char32_t code_point, std::string& text) {
  const auto continuation = [&](int shift) {
    text += static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text += static_cast<char>(0xC0 | code_point >> 6);
    continuation(0);
  } else if (code_point < 0x10000) {
    text += static_cast<char>(0xE0 | code_point >> 12);
    continuation(6);
    continuation(0);
  } else {
    text += static_cast<char>(0xF0 | code_point >> 18);
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

size_t CompletePrefixLength(std::string_view bytes) {
  for (size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const size_t start = bytes.size() - back;
    if (IsContinuation(bytes[start])) continue;
    return FirstUnit(bytes.substr(start)).kind == UnitKind::kTruncated ? start : bytes.size();
  }
  return bytes.size();
}

size_t LeadingWhitespaceLength(std::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const size_t unit = FirstUnit(text.substr(length)).length;
    if (!IsWhitespace(text.substr(length, unit))) break;
    length += unit;
  }
  return length;
}

size_t TrailingWhitespaceLength(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const std::string_view last = LastCodePoint(text.substr(0, end));
    if (!IsWhitespace(last)) break;
    end -= last.size();
  }
  return text.size() - end;
}

}  // namespace quire
