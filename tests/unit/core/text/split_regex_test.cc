#include "core/text/split_regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/text/pre_tokenizer.h"
#include "core/text/split_behavior.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Split(std::string_view pattern, std::string_view text) {
  const auto regex = SplitRegex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<std::string> pieces;
  if (!regex.ok()) return pieces;
  const absl::Status status = SplitText(text, *regex, SplitBehavior::kIsolated, /*invert=*/false,
                                        [&](std::string_view piece) {
                                          pieces.emplace_back(piece);
                                          return absl::OkStatus();
                                        });
  EXPECT_TRUE(status.ok()) << status;
  return pieces;
}

TEST(SplitRegexTest, MatchesAndWhatLiesBetweenThemAreAllOfTheText) {
  EXPECT_THAT(Split("[0-9]+", ""), ElementsAre());
  EXPECT_THAT(Split("[0-9]+", "ab"), ElementsAre("ab"));
  EXPECT_THAT(Split("[0-9]+", "12"), ElementsAre("12"));
  EXPECT_THAT(Split("[0-9]+", "a12b3"), ElementsAre("a", "12", "b", "3"));
}

TEST(SplitRegexTest, Gpt2PatternCutsAsTheOriginalDoes) {
  EXPECT_THAT(Split(kGpt2Pattern, "Hello, it's  12'S\n"),
              ElementsAre("Hello", ",", " it", "'s", " ", " 12", "'", "S", "\n"));
  // U+180E is no white space to Oniguruma, so it joins the punctuation.
  EXPECT_THAT(Split(kGpt2Pattern, "a!\xE1\xA0\x8E"), ElementsAre("a", "!\xE1\xA0\x8E"));
  EXPECT_THAT(Split(kGpt2Pattern,
                    "a\xE3\x80\x80\xE3\x80\x80"
                    "b"),
              ElementsAre("a", "\xE3\x80\x80", "\xE3\x80\x80", "b"));
}

TEST(SplitRegexTest, IgnoringCaseFollowsUnicode) {
  EXPECT_THAT(Split("(?i:'s|'t)", "it'S 't \xE2\x80\x99s '\xC5\xBF"),
              ElementsAre("it", "'S", " ", "'t", " \xE2\x80\x99s ", "'\xC5\xBF"));
}

TEST(SplitRegexTest, LettersAssignedAfterUnicode14AreLetters) {
  EXPECT_THAT(Split(R"(\p{L}+)", "\xF0\xB1\x8D\x90 "), ElementsAre("\xF0\xB1\x8D\x90", " "))
      << "U+31350 is of Unicode 15";
}

TEST(SplitRegexTest, PatternsThatCannotServeAreRefused) {
  EXPECT_THAT(SplitRegex::Compile("a*").status().message(), HasSubstr("empty"));
  EXPECT_THAT(SplitRegex::Compile("(?<=a+)b").status().message(), HasSubstr("malformed"));
  EXPECT_THAT(SplitRegex::Compile(std::string(20000, 'a')).status().message(), HasSubstr("longer"));
  EXPECT_FALSE(SplitRegex::Compile("\xFF").ok());
}

TEST(SplitRegexTest, BacktrackingWithoutEndIsAnErrorOfTheText) {
  const auto regex = SplitRegex::Compile("(?:a|aa)+(?:a|aa)+(?:a|aa)+[bc]");
  ASSERT_TRUE(regex.ok()) << regex.status();
  const auto ignore = [](size_t, size_t) { return absl::OkStatus(); };
  const absl::Status status = regex->ForEachMatch(std::string(5000, 'a'), ignore);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("too complex"));
}

TEST(SplitRegexTest, AnErrorOfTheSinkEndsTheSplit) {
  const auto regex = SplitRegex::Compile("a");
  ASSERT_TRUE(regex.ok());
  int calls = 0;
  const absl::Status status = regex->ForEachMatch("aaa", [&](size_t, size_t) {
    ++calls;
    return absl::CancelledError("enough");
  });
  EXPECT_EQ(status.message(), "enough");
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace quire
