#include "core/text/byte_alphabet.h"

#include <array>
#include <cstdint>

namespace quire {
namespace {

constexpr int kNoByte = -1;
// Bytes that are printable in Latin-1 spell themselves; the 68 others take U+0100 and on, in order.
constexpr int kCodePoints = 0x100 + 68;

constexpr bool SpellsItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

constexpr std::array<int16_t, kCodePoints> MakeByteOfCodePoint() {
  std::array<int16_t, kCodePoints> table{};
  for (int16_t& entry : table) entry = kNoByte;
  int next = 0x100;
  for (int byte = 0; byte < 0x100; ++byte) {
    table[SpellsItself(byte) ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

constexpr std::array<int16_t, kCodePoints> kByteOfCodePoint = MakeByteOfCodePoint();

}  // namespace

std::optional<std::string> BytesSpelledBy(std::string_view token) {
  std::string bytes;
  for (size_t i = 0; i < token.size(); ++i) {
    int code_point = static_cast<uint8_t>(token[i]);
    if (code_point >= 0x80) {
      const bool two_bytes = code_point >= 0xC2 && code_point <= 0xDF && i + 1 < token.size();
      if (!two_bytes) return std::nullopt;
      code_point = (code_point & 0x1F) << 6 | (static_cast<uint8_t>(token[++i]) & 0x3F);
    }
    if (code_point >= kCodePoints || kByteOfCodePoint[code_point] == kNoByte) return std::nullopt;
    bytes += static_cast<char>(kByteOfCodePoint[code_point]);
  }
  return bytes;
}

}  // namespace quire
