#include "core/text/utf8.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

std::string Replacements(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += kReplacement;
  return text;
}

struct IllFormed {
  std::string bytes;
  int replacements;  // what Python's bytes.decode(errors="replace") gives
};

std::vector<IllFormed> IllFormedCases() {
  return {
      {"\x80", 1},
      {"\xC0\x80", 2},              // overlong
      {"\xC1\xBF", 2},              // overlong
      {"\xE0\x80\x80", 3},          // overlong
      {"\xE0\xA0", 1},              // truncated
      {"\xED\xA0\x80", 3},          // surrogate
      {"\xF0\x80\x80\x80", 4},      // overlong
      {"\xF0\x9F\x98", 1},          // truncated
      {"\xF0\x9F\xF0\x9F\x98", 2},  // two truncated
      {"\xF4\x90\x80\x80", 4},      // above U+10FFFF
      {"\xF5\x80\x80\x80", 4},
      {"\xFF\xFE", 2},
      {"\xE2\x82\xE2\x82", 2},
  };
}

TEST(Utf8Test, WellFormedTextIsValidAndKept) {
  for (const std::string& text :
       {std::string(), std::string("plain"), std::string("a\0b", 3), std::string("\xC2\x80"),
        std::string("\xDF\xBF"), std::string("\xE0\xA0\x80"), std::string("\xED\x9F\xBF"),
        std::string("\xEE\x80\x80"), std::string("\xF0\x90\x80\x80"),
        std::string("\xF4\x8F\xBF\xBF"), std::string("eight by\xC3\xA9 and more")}) {
    EXPECT_TRUE(IsValidUtf8(text)) << text;
    EXPECT_EQ(ReplaceInvalidUtf8(text), text);
    EXPECT_EQ(CompletePrefixLength(text), text.size()) << text;
  }
}

TEST(Utf8Test, EveryMaximalSubpartBecomesOneReplacementCharacter) {
  for (const IllFormed& test : IllFormedCases()) {
    SCOPED_TRACE(::testing::PrintToString(test.bytes));
    EXPECT_FALSE(IsValidUtf8(test.bytes));
    EXPECT_FALSE(IsValidUtf8(absl::StrCat("twelve bytes", test.bytes, "z")));
    EXPECT_EQ(ReplaceInvalidUtf8(absl::StrCat("a", test.bytes, "z")),
              absl::StrCat("a", Replacements(test.replacements), "z"));
  }
}

TEST(Utf8Test, OnlyABegunCodePointAtTheEndIsIncomplete) {
  EXPECT_EQ(CompletePrefixLength("ab\xF0\x9F\x98"), 2u);
  EXPECT_EQ(CompletePrefixLength("ab\xF0"), 2u);
  EXPECT_EQ(CompletePrefixLength("ab\xE2\x82"), 2u);
  EXPECT_EQ(CompletePrefixLength("\xC3"), 0u);
  EXPECT_EQ(CompletePrefixLength("ab\xE0\x80"), 4u) << "no byte can complete E0 80";
  EXPECT_EQ(CompletePrefixLength("ab\xED\xA0"), 4u) << "the lead of a surrogate";
  EXPECT_EQ(CompletePrefixLength("ab\x80\x80\x80\x80"), 6u);
  EXPECT_EQ(CompletePrefixLength("ab\xFF"), 3u);
}

TEST(Utf8Test, NoByteThatFollowsChangesTheReadingOfACompletePrefix) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string alphabet = "a\x80\xBF\x9F\xA0\xC3\xE0\xE2\xED\xF0\xF4\x90\xFF";
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (size_t i = random() % 8; i > 0; --i) bytes += alphabet[random() % alphabet.size()];
    const size_t cut = random() % (bytes.size() + 1);
    const size_t complete = CompletePrefixLength(bytes.substr(0, cut));
    ASSERT_LE(complete, cut);
    ASSERT_LE(cut - complete, 3u);
    ASSERT_EQ(
        ReplaceInvalidUtf8(bytes.substr(0, complete)) + ReplaceInvalidUtf8(bytes.substr(complete)),
        ReplaceInvalidUtf8(bytes))
        << ::testing::PrintToString(bytes) << " cut at " << cut;
  }
}

TEST(Utf8Test, WhitespaceIsTheUnicodeProperty) {
  const std::string run = "\t \r\n\xC2\x85\xC2\xA0\xE1\x9A\x80\xE2\x80\x8A\xE2\x80\xA8\xE3\x80\x80";
  EXPECT_EQ(LeadingWhitespaceLength(run + "x "), run.size());
  EXPECT_EQ(TrailingWhitespaceLength(" x" + run), run.size());
  EXPECT_EQ(TrailingWhitespaceLength(run), run.size());
  EXPECT_EQ(LeadingWhitespaceLength(""), 0u);
  for (const std::string_view other : {"\xE1\xA0\x8E", "\xE2\x80\x8B", "\x1C", "\xEF\xBB\xBF"}) {
    EXPECT_EQ(LeadingWhitespaceLength(other), 0u) << other;
    EXPECT_EQ(TrailingWhitespaceLength(other), 0u) << other;
  }
}

TEST(Utf8Test, CodePointsAreReadAsTheyAreWritten) {
  for (const char32_t c : {0x00u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string bytes;
    AppendUtf8(c, bytes);
    EXPECT_TRUE(IsValidUtf8(bytes));
    EXPECT_EQ(FirstCodePoint(bytes + "x").value, c);
    EXPECT_EQ(FirstCodePoint(bytes + "x").length, bytes.size());
    EXPECT_EQ(LastCodePoint("x" + bytes), bytes);
  }
}

TEST(Utf8Test, EachIllFormedByteMayBeReplacedByItself) {
  EXPECT_EQ(ReplaceInvalidUtf8("a\xE4\xBD"
                               "b",
                               ::quire::IllFormed::kEachByte),
            "a\xEF\xBF\xBD\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE4\xBD\xA0\xA0", ::quire::IllFormed::kEachByte),
            "\xE4\xBD\xA0\xEF\xBF\xBD");
}

}  // namespace
}  // namespace quire
