#include "core/text/character_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "core/text/utf8.h"

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
  units = Units();
  units[0] = Leaf(1);
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

TEST(CharacterMapTest, ReplacementsMustBeShortWellFormedUtf8) {
  for (const std::string& text : {std::string("\xF0"), std::string("\xC3"), std::string("\xFF"),
                                  std::string(257, 'x'), "ok" + std::string(1, 0) + "\x80"}) {
    const auto map = CharacterMap::Parse(Blob(Units(), text + std::string(2, '\0')));
    EXPECT_THAT(map.status().message(), HasSubstr("cut short or damaged")) << text;
  }
  const std::string fits = std::string(256, 'x') + std::string(1, '\0');
  EXPECT_EQ(CharacterMap::Parse(Blob(Units(), fits))->Longest("a")->replacement.size(), 256u);
}

TEST(CharacterMapTest, ARuleMustNotPointIntoACodePoint) {
  const std::string_view replacements("\xC3\xA9\0", 4);
  EXPECT_TRUE(CharacterMap::Parse(Blob(Units(), replacements)).ok());
  std::vector<uint32_t> units = Units();
  units[256 ^ 'a' ^ 1] = Leaf(1);
  EXPECT_FALSE(CharacterMap::Parse(Blob(units, replacements)).ok());
}

TEST(CharacterMapTest, PartOfACodePointIsNoMatch) {
  std::vector<uint32_t> units(512, Inner(0, 0, false));
  units[0] = Inner(256, 0, false);
  units[256 ^ 0xC3] = Inner(1, 0xC3, true);
  units[256 ^ 0xC3 ^ 1] = Leaf(0);
  const auto map = CharacterMap::Parse(Blob(units, kReplacements));
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_FALSE(map->Longest("\xC3\xA9").has_value());
}

// "a" leads back to itself, so that every run of it is a rule.
TEST(CharacterMapTest, ARuleHasAtMost256Bytes) {
  std::vector<uint32_t> units(512, Inner(0, 0, false));
  units[0] = Inner(256, 0, false);
  units[256 ^ 'a'] = Inner('a', 'a', true);
  units[256] = Leaf(0);
  const auto map = CharacterMap::Parse(Blob(units, kReplacements));
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->Longest(std::string(1000, 'a'))->length, 256u);
}

TEST(CharacterMapTest, DamagedMapsNeverReadOutside) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint32_t> units = Units();
    for (int i = 0; i < 3; ++i) units[random() % units.size()] ^= 1u << random() % 32;
    if (round % 8 == 0) units[0] = Leaf(random() % 3);
    std::string replacements(kReplacements);
    if (round % 8 == 1) replacements[0] = static_cast<char>(random());
    const auto map = CharacterMap::Parse(Blob(units, replacements));
    if (!map.ok()) continue;
    for (const std::string_view text : {"a", "ab", "abab", "\xC3\xA9", "ba"}) {
      const auto match = map->Longest(text);
      if (!match.has_value()) continue;
      ASSERT_TRUE(IsValidUtf8(match->replacement));
      ASSERT_TRUE(IsValidUtf8(text.substr(match->length)));
    }
  }
}

}  // namespace
}  // namespace quire
