#include "core/text/added_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quire {
namespace {

// The pieces as text in [brackets] and tokens by id, so that a whole split reads as one string.
std::string Split(const AddedTokenMatcher& matcher, std::string_view text,
                  bool parse_special = true,
                  const std::vector<Tokenizer::ByteRange>& literal = {}) {
  std::string result;
  const auto on_text = [&](std::string_view part) {
    result.append("[").append(part).append("]");
    return absl::OkStatus();
  };
  const auto on_token = [&](TokenId id) { result += std::to_string(id); };
  EXPECT_TRUE(matcher.Split(text, parse_special, {on_text, on_token}, literal).ok());
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

TEST(AddedTokensTest, ALongerTokenThatIsNotAllowedHidesNoShorterOne) {
  const AddedTokenMatcher matcher({Special(1, "<s>"), Special(2, "<s>x")});
  EXPECT_EQ(Split(matcher, "<s>x"), "2");
  EXPECT_EQ(Split(matcher, "<s>x", true, {{3, 4}}), "1[x]");
  EXPECT_EQ(Split(matcher, "<s>x", true, {{2, 3}}), "[<s>x]");
  EXPECT_EQ(Split(matcher, "<s><s>", true, {{0, 3}}), "[<s>]1");
}

TEST(AddedTokensTest, ATokenThatIsNotSpecialCrossesNoBorderOfALiteralRange) {
  const AddedTokenMatcher matcher({Special(1, "<s>"), {.id = 2, .content = "a<"}});
  EXPECT_EQ(Split(matcher, "a<s>"), "2[s>]");
  EXPECT_EQ(Split(matcher, "a<s>", true, {{0, 1}}), "[a]1") << "the template's mark is whole";
  EXPECT_EQ(Split(matcher, "a<s>", true, {{1, 2}}), "[a<s>]");
  EXPECT_EQ(Split(matcher, "a<s>", true, {{0, 2}}), "2[s>]") << "content alone";
  EXPECT_EQ(Split(matcher, "xa<", true, {{0, 1}}), "[x]2") << "template alone";
}

TEST(AddedTokensTest, ARunOfWhiteSpaceIsReadOnce) {
  const AddedTokenMatcher matcher({{.id = 1, .content = " ", .rstrip = true}});
  const std::string spaces(1 << 18, ' ');
  EXPECT_EQ(Split(matcher, "x" + spaces + "y  z"),
            "[x]" + std::string(spaces.size(), '1') + "[y]11[z]");
}

TEST(AddedTokensTest, RangesWithinAPartCountFromItsBeginning) {
  const std::vector<Tokenizer::ByteRange> ranges = {{0, 2}, {3, 5}, {6, 9}, {12, 20}};
  const auto within = [&](size_t begin, size_t end) {
    std::string text;
    for (const auto& range : RangesWithin(ranges, begin, end)) {
      text += std::to_string(range.begin) + "-" + std::to_string(range.end) + " ";
    }
    return text;
  };
  EXPECT_EQ(within(0, 20), "0-2 3-5 6-9 12-20 ");
  EXPECT_EQ(within(4, 7), "0-1 2-3 ");
  EXPECT_EQ(within(5, 6), "");
  EXPECT_EQ(within(9, 12), "");
  EXPECT_EQ(within(13, 14), "0-1 ");
  EXPECT_EQ(within(20, 30), "");
}

}  // namespace
}  // namespace quire
