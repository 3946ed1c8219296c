#include "core/text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/text/character_sets.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using Prepend = MetaspaceStage::Prepend;

std::vector<std::string> Split(const std::vector<PreTokenizerStage>& stages, std::string_view text,
                               size_t front = 1) {
  const auto pre_tokenizer = PreTokenizer::Build(stages);
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
  std::vector<std::string> pieces;
  if (!pre_tokenizer.ok()) return pieces;
  const absl::Status status = pre_tokenizer->Split(text, front, [&](std::string_view piece) {
    pieces.emplace_back(piece);
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return pieces;
}

SplitStage Literal(std::string text, SplitBehavior behavior = SplitBehavior::kIsolated) {
  return {SplitStage::Syntax::kLiteral, std::move(text), behavior, false};
}

TEST(PreTokenizerTest, WithoutStagesTheTextIsOnePiece) {
  EXPECT_THAT(Split({}, "a b"), ElementsAre("a b"));
  EXPECT_THAT(Split({}, ""), ElementsAre());
}

TEST(PreTokenizerTest, MetaspacesReplaceSpacesAndBeginPieces) {
  EXPECT_THAT(Split({MetaspaceStage{"_"}}, "a b  c "), ElementsAre("_a", "_b", "_", "_c", "_"));
  EXPECT_THAT(Split({MetaspaceStage{"_"}}, " a"), ElementsAre("_a"));
  EXPECT_THAT(Split({MetaspaceStage{"_"}}, "_a"), ElementsAre("_a"));
  EXPECT_THAT(Split({MetaspaceStage{"_", Prepend::kAlways, false}}, "a b"), ElementsAre("_a_b"));
  EXPECT_THAT(Split({MetaspaceStage{"_", Prepend::kNever, true}}, "a b"), ElementsAre("a", "_b"));
}

TEST(PreTokenizerTest, TheSchemeFirstPrependsWhereTheTextBegins) {
  const std::vector<PreTokenizerStage> stages = {Literal("-"),
                                                 MetaspaceStage{"_", Prepend::kFirst, true}};
  EXPECT_THAT(Split(stages, "a-b"), ElementsAre("_a", "-", "b"));
  EXPECT_THAT(Split(stages, "a-b", 0), ElementsAre("a", "-", "b"));
  EXPECT_THAT(Split(stages, "a-b", 2), ElementsAre("_a", "_-", "b")) << "two bytes of the front";
}

TEST(PreTokenizerTest, LiteralsAreNoExpressions) {
  EXPECT_THAT(Split({Literal(".*")}, "a.*b.c"), ElementsAre("a", ".*", "b.c"));
  EXPECT_THAT(Split({Literal("\\Q\xC3\xA9|")}, "a\\Q\xC3\xA9|"), ElementsAre("a", "\\Q\xC3\xA9|"));
}

TEST(PreTokenizerTest, WordsAndPunctuationFollowTheTokenizersLibrary) {
  const auto members = [](const std::string& pattern, const std::string& text) {
    return !Split({SplitStage{SplitStage::Syntax::kPcre2, pattern, SplitBehavior::kRemoved, true}},
                  text)
                .empty();
  };
  for (const char* word : {"a", "_", "7", "\xC3\xA9", "\xCC\x81", "\xE2\x80\x8D", "\xE2\x85\xA7",
                           "\xF0\x91\xBC\x82"}) {
    EXPECT_TRUE(members(WordPattern(), word)) << word;
    EXPECT_EQ(members(PunctuationPattern(), word), word == std::string("_"));
  }
  for (const char* mark : {"$", "^", "!", "\xE2\x80\x94", "\xE1\x99\xAD"}) {
    EXPECT_TRUE(members(PunctuationPattern(), mark)) << mark;
    EXPECT_FALSE(members(WordPattern(), mark));
  }
  EXPECT_FALSE(members(PunctuationPattern(), "\xE2\xB9\x83")) << "U+2E43 is of Unicode 9";
  EXPECT_FALSE(members(PunctuationPattern(), "\xC3\xB7")) << "a symbol beyond ASCII";
}

}  // namespace
}  // namespace quire
