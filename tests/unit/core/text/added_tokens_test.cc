#include "core/text/added_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quire {
namespace {

// The pieces as text in [brackets] and tokens by id, so that a whole split reads as one string.
std::string Split(const AddedTokenMatcher& matcher, std::string_view text,
                  bool parse_special = true) {
  std::string result;
  const auto on_text = [&](std::string_view part) {
    result.append("[").append(part).append("]");
    return absl::OkStatus();
  };
  const auto on_token = [&](TokenId id) { result += std::to_string(id); };
  EXPECT_TRUE(matcher.Split(text, parse_special, {on_text, on_token}).ok());
  return result;
}

AddedToken Special(TokenId id, std::string content) {
  return {.id = id, .content = std::move(content), .special = true};
}

TEST(AddedTokensTest, TextIsCutAtTokensAndEmptyTextIsLeftOut) {
  const AddedTokenMatcher matcher({Special(1, "<a>"), Special(2, "<b>")});
  EXPECT_EQ(Split(matcher, ""), "");
  EXPECT_EQ(Split(matcher, "x"), "[x]");
  EXPECT_EQ(Split(matcher, "<a><b>"), "12");
  EXPECT_EQ(Split(matcher, "x<a>y<b"), "[x]1[y<b]");
}

TEST(AddedTokensTest, TheLeftmostTokenWinsThenTheLongest) {
  const AddedTokenMatcher matcher({Special(1, "ab"), Special(2, "abcd"), Special(3, "bcde")});
  EXPECT_EQ(Split(matcher, "abcde"), "2[e]");
  EXPECT_EQ(Split(matcher, "abce"), "1[ce]");
  EXPECT_EQ(Split(matcher, "xbcde"), "[x]3");
}

TEST(AddedTokensTest, OfTokensWithTheSameContentTheFirstCounts) {
  EXPECT_EQ(Split(AddedTokenMatcher({Special(1, "ab"), Special(2, "ab")}), "abab"), "11");
}

TEST(AddedTokensTest, ASingleWordMustNotTouchAWord) {
  const AddedTokenMatcher matcher({{.id = 1, .content = "word", .single_word = true}});
  for (const char* text : {"word", " word ", "word-", "(word)", "\xE2\x80\x94word"}) {
    EXPECT_NE(Split(matcher, text).find('1'), std::string::npos) << text;
  }
  for (const char* text : {"words", "aword", "word_", "7word", "word\xC3\xA9", "word\xCC\x81"}) {
    EXPECT_EQ(Split(matcher, text).find('1'), std::string::npos) << text;
  }
}

TEST(AddedTokensTest, SpecialTokensStayTextWhereTheyAreNotParsed) {
  const AddedTokenMatcher matcher({Special(1, "<a>"), {.id = 2, .content = "a>x"}});
  EXPECT_EQ(Split(matcher, "<a>x a>x", true), "1[x ]2");
  EXPECT_EQ(Split(matcher, "<a>x a>x", false), "[<a>x ]2")
      << "the text of an unparsed special token is not searched again";
}

TEST(AddedTokensTest, StripsSwallowWhiteSpaceOnTheirSide) {
  const AddedTokenMatcher matcher({{.id = 1, .content = "<l>", .lstrip = true},
                                   {.id = 2, .content = "<r>", .rstrip = true},
                                   {.id = 3, .content = "<lr>", .lstrip = true, .rstrip = true}});
  EXPECT_EQ(Split(matcher, "x \n<l> y"), "[x]1[ y]");
  EXPECT_EQ(Split(matcher, "x <r> \xE3\x80\x80y"), "[x ]2[y]");
  EXPECT_EQ(Split(matcher, " <lr> <lr>  "), "33");
  EXPECT_EQ(Split(matcher, " <r> <l> "), "[ ]21[ ]");
}

}  // namespace
}  // namespace quire
