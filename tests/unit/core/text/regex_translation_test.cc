#include "core/text/regex_translation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

using ::testing::HasSubstr;

TEST(RegexTranslationTest, WhatBothEnginesReadAlikeIsCopied) {
  for (const std::string pattern :
       {"", "abc", "a|b*?c++", "[a-z]{2,3}(?:x){4}y{1,}z{1,}?z{1,2}?",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(a)(?=b)(?!c)(?<=d)(?<!e)(?>f)",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~])", "[\xE4\xB8\x80-\xE9\xBE\xA5]+",
        R"(\r\n\t\.\x{41})"}) {
    const auto translated = TranslateOnigurumaPattern(pattern);
    ASSERT_TRUE(translated.ok()) << pattern << ": " << translated.status();
    EXPECT_EQ(*translated, pattern);
  }
}

TEST(RegexTranslationTest, SetsAreWrittenOutInAndOutsideClasses) {
  const std::string space = *TranslateOnigurumaPattern(R"(\s)");
  ASSERT_EQ(space.front(), '[');
  const std::string members = space.substr(1, space.size() - 2);
  EXPECT_EQ(*TranslateOnigurumaPattern(R"(\S)"), "[^" + members + "]");
  EXPECT_EQ(*TranslateOnigurumaPattern(R"([^\sx])"), "[^" + members + "x]");
  EXPECT_THAT(*TranslateOnigurumaPattern(R"(\p{L}+)"), HasSubstr(R"(\p{L})"));
  EXPECT_THAT(*TranslateOnigurumaPattern(R"([\p{Han}a])"), HasSubstr(R"([\p{sc:Han})"));
  EXPECT_THAT(*TranslateOnigurumaPattern(R"(\P{N})"), HasSubstr(R"([^\p{N})"));
}

struct Refused {
  const char* pattern;
  const char* named;
};

TEST(RegexTranslationTest, WhatTheEnginesReadDifferentlyIsRefusedByName) {
  for (const Refused& test : std::initializer_list<Refused>{
           {"^a", "anchor"},           {"a$", "anchor"},
           {R"(\w)", "escape"},        {R"(\h)", "escape"},
           {R"(\b)", "escape"},        {R"(\1)", "escape"},
           {R"(\v)", "escape"},        {R"([\P{L}])", "complement"},
           {"\\", "escape"},           {R"(\p{Klingon})", "property"},
           {R"(\p{^L})", "property"},  {R"(\pL)", "property"},
           {R"(\x41)", "\\x"},         {R"([\S])", "complement"},
           {"[a[b]]", "nested"},       {"[a&&b]", "intersection"},
           {"[]a]", "empty"},          {R"([\p{L}-z])", "dash"},
           {R"([!-\s])", "dash"},      {"a{,3}", "brace"},
           {"a{2}+", "possessive"},    {"a{x}", "brace"},
           {"(?i)a", "group"},         {"(?<n>a)", "group"},
           {"(?i:ss)", "ligature"},    {"(?i:(fI))", "ligature"},
           {"(?i:\xC3\x9F)", "ASCII"}, {R"((?i:\p{L}))", "case-insensitive"},
           {"(a", "unclosed"},         {"[a", "unclosed"},
           {"a)", "unopened"},         {"(*ACCEPT)a", "group"},
           {"(*UTF)a", "group"},       {"a{2}?", "interval"},
       }) {
    const auto translated = TranslateOnigurumaPattern(test.pattern);
    ASSERT_FALSE(translated.ok()) << test.pattern << " became " << *translated;
    EXPECT_EQ(translated.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(translated.status().message(), HasSubstr(test.named)) << test.pattern;
  }
}

}  // namespace
}  // namespace quire
