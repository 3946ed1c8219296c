#include "core/sample/stop_matcher.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

struct Case {
  const char* what;
  std::vector<std::string> patterns;
  std::vector<std::string> pieces;  // a match ends in the last one
  uint32_t trim;
};

TEST(StopMatcherTest, FindsTheMatchThatEndsFirst) {
  const Case cases[] = {
      {"a single byte", {"x"}, {"abxcd"}, 3},
      {"at the very end", {"end"}, {"the end"}, 3},
      {"the piece itself", {"abc"}, {"abc"}, 3},
      {"over two pieces", {"abc"}, {"xxa", "bcyy"}, 5},
      {"over many pieces, some of them empty", {"abcd"}, {"a", "", "b", "c", "", "d"}, 4},
      {"with text behind it in the same piece", {"ab"}, {"1234ab567"}, 5},
      {"a pattern that overlaps itself", {"aab"}, {"aaab"}, 3},
      {"a longer border", {"abababc"}, {"ababab", "ababc!"}, 8},
      {"the border of a border", {"aabaaaaab"}, {"aabaaabaaaaab"}, 9},
      {"several at once: the longest", {"c", "abc", "bc"}, {"abc"}, 3},
      {"several at once, longest first", {"abc", "bc", "c"}, {"abc"}, 3},
      {"the shorter one may end first", {"abcd", "bc"}, {"abcd"}, 3},
      {"a match may start inside a longer miss", {"abcd", "bcx"}, {"abcx"}, 3},
      {"bytes above 127", {"\xe2\x80\xa6"}, {"wait\xe2", "\x80", "\xa6"}, 3},
      {"a zero byte", {std::string("a\0b", 3)}, {std::string("xa\0", 3), "b"}, 3},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    StopMatcher matcher(c.patterns);
    for (size_t i = 0; i < c.pieces.size(); ++i) {
      EXPECT_EQ(matcher.Feed(c.pieces[i]), i + 1 == c.pieces.size()) << "piece " << i;
    }
    EXPECT_EQ(matcher.trim_bytes(), c.trim);
  }
}

TEST(StopMatcherTest, HoldsBackTheLongestStartOfAnyPattern) {
  const struct {
    const char* text;
    uint32_t partial;
  } cases[] = {{"", 0},      {"x", 0},       {"a", 1},   {"xab", 2},   {"xabx", 0},
               {"aab", 2},   {"abab", 2},    {"<", 1},   {"a</en", 4}, {"ab<", 1},
               {"</end", 5}, {"</end</", 2}, {"</ab", 2}};
  for (const auto& c : cases) {
    StopMatcher matcher({"abc", "</end>"});
    EXPECT_FALSE(matcher.Feed(c.text));
    EXPECT_EQ(matcher.partial_bytes(), c.partial) << c.text;
  }
}

TEST(StopMatcherTest, WithoutPatternsNothingMatchesAndNothingIsHeldBack) {
  for (StopMatcher matcher : {StopMatcher(), StopMatcher(std::vector<std::string>())}) {
    EXPECT_FALSE(matcher.Feed("anything"));
    EXPECT_EQ(matcher.partial_bytes(), 0u);
    EXPECT_EQ(matcher.trim_bytes(), 0u);
  }
}

TEST(StopMatcherDeathTest, AStreamEndsAtItsFirstMatch) {
  StopMatcher matcher({"a"});
  ASSERT_TRUE(matcher.Feed("a"));
  EXPECT_DEATH((void)matcher.Feed("b"), "ends at its first match");
}

TEST(StopMatcherDeathTest, AnEmptyPatternIsABrokenInvariant) {
  EXPECT_DEATH(StopMatcher({"a", ""}), "empty");
}

TEST(StopMatcherTest, MatchesInWhatIsPassedDoNotCountButMayGoOnBehindIt) {
  StopMatcher matcher({"abab", "x"});
  matcher.Pass("xababx");
  EXPECT_EQ(matcher.partial_bytes(), 0u);
  matcher.Pass("abab");
  EXPECT_EQ(matcher.partial_bytes(), 2u) << "the second half may begin another";
  EXPECT_TRUE(matcher.Feed("abz"));
  EXPECT_EQ(matcher.trim_bytes(), 5u);
  EXPECT_EQ(matcher.rest_bytes(), 1u);
}

}  // namespace
}  // namespace quire
