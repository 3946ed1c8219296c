#include "core/text/unicode_form.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "core/text/utf8.h"

namespace quire {
namespace {

using Kind = UnicodeForm::Kind;

std::string Utf8(const std::u32string& text) {
  std::string bytes;
  for (char32_t c : text) AppendUtf8(c, bytes);
  return bytes;
}

std::string Form(Kind kind, const std::u32string& text) {
  std::string result;
  UnicodeForm(kind).Append(Utf8(text), result);
  return result;
}

TEST(UnicodeFormTest, TheFourFormsDifferAsUax15Says) {
  const std::u32string text = U"\u1E9B\u0323";  // the standard's own example
  EXPECT_EQ(Form(Kind::kNfc, text), Utf8(U"\u1E9B\u0323"));
  EXPECT_EQ(Form(Kind::kNfd, text), Utf8(U"\u017F\u0323\u0307"));
  EXPECT_EQ(Form(Kind::kNfkc, text), Utf8(U"\u1E69"));
  EXPECT_EQ(Form(Kind::kNfkd, text), Utf8(U"s\u0323\u0307"));
}

TEST(UnicodeFormTest, ComposesOverWhatDoesNotBlock) {
  EXPECT_EQ(Form(Kind::kNfc, U"xa\u0323\u0301y"), Utf8(U"x\u1EA1\u0301y"));
  EXPECT_EQ(Form(Kind::kNfc, U"\u1100\u1161\u11A8"), Utf8(U"\uAC01"));
  EXPECT_EQ(Form(Kind::kNfc, U"\uAC00\u11A8"), Utf8(U"\uAC01"));
  EXPECT_EQ(Form(Kind::kNfc, U"\u212B\u2126"), Utf8(U"\u00C5\u03A9"));
  EXPECT_EQ(Form(Kind::kNfc, U"\u0958"), Utf8(U"\u0915\u093C")) << "excluded from composition";
  EXPECT_EQ(Form(Kind::kNfc, U"\u0301a"), Utf8(U"\u0301a")) << "nothing before the mark";
  EXPECT_EQ(Form(Kind::kNfc, U"\u09C7\u09BE"), Utf8(U"\u09CB")) << "both are starters";
}

TEST(UnicodeFormTest, WhatTheTokenizersLibraryDoesNotKnowStandsStill) {
  EXPECT_EQ(Form(Kind::kNfkc, U"\u32FF"), Utf8(U"\u32FF")) << "of Unicode 12.1";
  EXPECT_EQ(Form(Kind::kNfc, U"e\u0898\u0301"), Utf8(U"e\u0898\u0301"))
      << "U+0898, a mark of Unicode 14, keeps the two apart";
  EXPECT_EQ(Form(Kind::kNfd, U"\u0898\u0327"), Utf8(U"\u0898\u0327"));
}

TEST(UnicodeFormTest, TextBeyondTheTableIsTreatedAlike) {
  EXPECT_EQ(Form(Kind::kNfc, U"\U00020000\U0002F801\U000E0041"),
            Utf8(U"\U00020000\u4E38\U000E0041"));
}

// A form does not change what it made, and is the same for equivalent texts.
TEST(UnicodeFormTest, FormsOfRandomTextAreStableAndAgree) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::u32string likely =
      U"aAeo \u0301\u0300\u0323\u0307\u0327\u0345\u00C5\u1EA5\uAC01\u1161\u11A8\u0958\u3099\u30AB"
      U"\u0898\uFB01";
  const UnicodeForm nfc(Kind::kNfc);
  const UnicodeForm nfd(Kind::kNfd);
  const auto apply = [](const UnicodeForm& form, const std::string& text) {
    std::string result;
    form.Append(text, result);
    return result;
  };
  for (int round = 0; round < 3000; ++round) {
    std::u32string text;
    for (size_t i = random() % 12; i > 0; --i) text += likely[random() % likely.size()];
    const std::string composed = apply(nfc, Utf8(text));
    const std::string decomposed = apply(nfd, Utf8(text));
    ASSERT_EQ(apply(nfc, composed), composed);
    ASSERT_EQ(apply(nfd, decomposed), decomposed);
    ASSERT_EQ(apply(nfc, decomposed), composed);
    ASSERT_EQ(apply(nfd, composed), decomposed);
  }
}

TEST(UnicodeFormTest, AMegabyteOfMarksTakesFarLessThanQuadraticTime) {
  std::string marks = "a";
  while (marks.size() < 1 << 20) marks += Utf8(U"\u0301\u0323\u0334");
  std::string result;
  UnicodeForm(Kind::kNfd).Append(marks, result);
  EXPECT_EQ(result.size(), marks.size());
  EXPECT_EQ(result.substr(0, 5), "a\xCC\xB4\xCC\xB4") << "sorted by combining class";
}

TEST(UnicodeFormTest, MarksAndLowerCaseFollowTheTokenizersLibrary) {
  EXPECT_TRUE(IsCombiningMark(0x301));
  EXPECT_TRUE(IsCombiningMark(0x903)) << "a spacing mark";
  EXPECT_TRUE(IsCombiningMark(0x1CF2)) << "a letter since Unicode 12";
  EXPECT_FALSE(IsCombiningMark(0x898)) << "of Unicode 14";
  EXPECT_FALSE(IsCombiningMark('a'));
  std::string lower;
  AppendLowercase(Utf8(U"A\u0130\u03A3\u1C89\U00010D51\u00DF1"), lower);
  EXPECT_EQ(lower, Utf8(U"ai\u0307\u03C3\u1C8A\U00010D71\u00DF1"));
}

}  // namespace
}  // namespace quire
