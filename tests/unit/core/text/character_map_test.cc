#include "core/text/character_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace quire {
namespace {

using ::testing::HasSubstr;

// Units of a double array, written from its definition: (offset << 10) | has_leaf << 8 | label.
constexpr uint32_t Inner(uint32_t offset, uint32_t label, bool has_leaf) {
  return offset << 10 | (has_leaf ? 1u << 8 : 0) | label;
}
constexpr uint32_t Leaf(uint32_t value) { return 1u << 31 | value; }

// "a" becomes "X" and "ab" becomes nothing.
std::vector<uint32_t> Units() {
  std::vector<uint32_t> units(512, Inner(0, 0, false));
  units[0] = Inner(256, 0, false);
  units[256 ^ 'a'] = Inner(1, 'a', true);  // children at 256 ^ 'a' ^ 1
  units[256 ^ 'a' ^ 1] = Leaf(0);
  units[256 ^ 'a' ^ 1 ^ 'b'] = Inner(2, 'b', true);
  units[256 ^ 'a' ^ 1 ^ 'b' ^ 2] = Leaf(2);
  return units;
}

std::string Blob(const std::vector<uint32_t>& units, std::string_view replacements) {
  std::string blob;
  const auto append = [&](uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) blob += static_cast<char>(value >> shift & 0xFF);
  };
  append(static_cast<uint32_t>(units.size() * 4));
  for (uint32_t unit : units) append(unit);
  return blob + std::string(replacements);
}

constexpr std::string_view kReplacements("X\0\0", 3);

TEST(CharacterMapTest, TheLongestRuleIsFound) {
  const auto map = CharacterMap::Parse(Blob(Units(), kReplacements));
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->Longest("ac")->replacement, "X");
  EXPECT_EQ(map->Longest("ac")->length, 1u);
  EXPECT_EQ(map->Longest("abc")->replacement, "");
  EXPECT_EQ(map->Longest("abc")->length, 2u);
  EXPECT_FALSE(map->Longest("b").has_value());
  EXPECT_FALSE(map->Longest("").has_value());
  EXPECT_FALSE(CharacterMap::Parse("")->Longest("a").has_value());
}

TEST(CharacterMapTest, IndicesOutsideAreRefused) {
  const auto refused = [](std::vector<uint32_t> units, std::string_view replacements) {
    const auto map = CharacterMap::Parse(Blob(units, replacements));
    EXPECT_THAT(map.status().message(), HasSubstr("cut short or damaged"));
  };
  std::vector<uint32_t> units = Units();
  units[0] = Inner(512, 0, false);
  refused(units, kReplacements);
  units = Units();
  units[256 ^ 'a' ^ 1] = Leaf(3);
  refused(units, kReplacements);
  units[256 ^ 'a' ^ 1] = Inner(0, 0, false);
  refused(units, kReplacements);
  refused(Units(), "X");
  refused(Units(), "");
  refused(std::vector<uint32_t>(255, 0), kReplacements);
  for (const char* blob : {"x", "\x04\x00\x00",
                           "\xFF\xFF\xFF\xFF"
                           "abc"}) {
    EXPECT_FALSE(CharacterMap::Parse(blob).ok());
  }
}

TEST(CharacterMapTest, DamagedMapsNeverReadOutside) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint32_t> units = Units();
    for (int i = 0; i < 3; ++i) units[random() % units.size()] ^= 1u << random() % 32;
    const auto map = CharacterMap::Parse(Blob(units, kReplacements));
    if (!map.ok()) continue;
    for (const char* text : {"a", "ab", "abab", "\xFF\xFE", "ba"}) map->Longest(text);
  }
}

}  // namespace
}  // namespace quire
