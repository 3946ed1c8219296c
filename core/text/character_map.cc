#include "core/text/character_map.h"

#include <algorithm>

#include "absl/status/status.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

constexpr size_t kUnitBytes = 4;
constexpr size_t kMaxRuleBytes = 256;
constexpr size_t kMaxReplacementBytes = 256;

uint32_t LittleEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// The fields of a unit. A leaf holds a value; the others lead to the units offset ^ label.
bool IsLeaf(uint32_t unit) { return (unit >> 31) != 0; }
uint32_t Value(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }

bool IsInsideCodePoint(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80;
}

// Strings that each end with a zero byte.
bool AreReplacements(std::string_view strings) {
  if (!strings.ends_with('\0') || !IsValidUtf8(strings)) return false;
  while (!strings.empty()) {
    const size_t length = strings.find('\0');
    if (length > kMaxReplacementBytes) return false;
    strings.remove_prefix(length + 1);
  }
  return true;
}

bool IsReplacement(std::string_view strings, size_t at) {
  return at < strings.size() && !IsInsideCodePoint(strings, at);
}

}  // namespace

absl::StatusOr<CharacterMap> CharacterMap::Parse(std::string_view blob) {
  CharacterMap map;
  if (blob.empty()) return map;
  const absl::Status bad =
      absl::InvalidArgumentError("normalizer_spec.precompiled_charsmap is cut short or damaged");
  if (blob.size() < kUnitBytes) return bad;
  const size_t trie_bytes = LittleEndian32(blob);
  blob.remove_prefix(kUnitBytes);
  if (trie_bytes == 0 || trie_bytes % kUnitBytes != 0 || trie_bytes >= blob.size()) return bad;
  map.replacements_ = std::string(blob.substr(trie_bytes));
  if (!AreReplacements(map.replacements_)) return bad;
  for (size_t i = 0; i < trie_bytes; i += kUnitBytes) {
    map.units_.push_back(LittleEndian32(blob.substr(i)));
  }
  if (IsLeaf(map.units_[0])) return bad;  // the search takes the root for an inner node
  for (size_t i = 0; i < map.units_.size(); ++i) {
    const uint32_t unit = map.units_[i];
    const size_t children = i ^ Offset(unit);
    const bool inside = IsLeaf(unit) ? IsReplacement(map.replacements_, Value(unit))
                                     : (children | 0xFF) < map.units_.size();
    if (!inside) return bad;
    // What a node's leaf flag points to must be a leaf, whose value has been or will be checked.
    if (!IsLeaf(unit) && HasLeaf(unit) && !IsLeaf(map.units_[children])) return bad;
  }
  return map;
}

std::optional<CharacterMap::Match> CharacterMap::Longest(std::string_view text) const {
  std::optional<Match> match;
  if (units_.empty()) return match;
  size_t node = Offset(units_[0]);
  for (size_t i = 0; i < std::min(text.size(), kMaxRuleBytes); ++i) {
    node ^= static_cast<uint8_t>(text[i]);
    const uint32_t unit = units_[node];
    if (Label(unit) != static_cast<uint8_t>(text[i])) break;
    node ^= Offset(unit);
    if (!HasLeaf(unit) || IsInsideCodePoint(text, i + 1)) continue;
    match = Match{i + 1, replacements_.c_str() + Value(units_[node])};
  }
  return match;
}

}  // namespace quire
