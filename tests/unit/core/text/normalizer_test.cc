#include "core/text/normalizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quire {
namespace {

using Kind = NormalizerStage::Kind;
using ::testing::HasSubstr;

constexpr char kMetaspace[] = "\xE2\x96\x81";

NormalizerStage Stage(Kind kind, std::string pattern = "", std::string content = "") {
  return {.kind = kind, .pattern = std::move(pattern), .content = std::move(content)};
}

Normalizer::Result Normalize(const std::vector<NormalizerStage>& stages, std::string_view text) {
  const auto normalizer = Normalizer::Build(stages);
  EXPECT_TRUE(normalizer.ok()) << normalizer.status();
  if (!normalizer.ok()) return {};
  const auto result = normalizer->Normalize(text);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *result : Normalizer::Result();
}

TEST(NormalizerTest, StagesWorkOnWhatTheOneBeforeLeft) {
  const std::vector<NormalizerStage> llama = {Stage(Kind::kPrepend, "", kMetaspace),
                                              Stage(Kind::kReplaceString, " ", kMetaspace)};
  EXPECT_EQ(Normalize(llama, "a b").text, std::string(kMetaspace) + "a" + kMetaspace + "b");
  EXPECT_EQ(Normalize(llama, "").text, "") << "nothing is put before nothing";
  EXPECT_EQ(Normalize({}, "a b").text, "a b");
}

TEST(NormalizerTest, EachStageDoesWhatItsNameSays) {
  EXPECT_EQ(Normalize({Stage(Kind::kReplaceRegex, "[0-9]+", "\\1")}, "a12b3").text, "a\\1b\\1");
  NormalizerStage strip = Stage(Kind::kStrip);
  strip.left = true;
  EXPECT_EQ(Normalize({strip}, " \xE3\x80\x80 a ").text, "a ");
  strip.right = true;
  EXPECT_EQ(Normalize({strip}, "  a ").text, "a");
  EXPECT_EQ(Normalize({strip}, "  ").text, "");
  EXPECT_EQ(Normalize({Stage(Kind::kNfd), Stage(Kind::kStripAccents)}, "\xC3\xA9").text, "e");
  EXPECT_EQ(Normalize({Stage(Kind::kLowercase)}, "AbC").text, "abc");
  EXPECT_EQ(Normalize({Stage(Kind::kNfkc)}, "\xEF\xAC\x81").text, "fi");
}

TEST(NormalizerTest, TheFrontIsWhatBecameOfTheFirstCodePoint) {
  NormalizerStage strip = Stage(Kind::kStrip);
  strip.left = true;
  const std::vector<NormalizerStage> drop = {Stage(Kind::kReplaceString, "zz", "")};
  EXPECT_EQ(Normalize({}, "ab").front, 1u);
  EXPECT_EQ(Normalize({strip}, " ab").front, 0u);
  EXPECT_EQ(Normalize(drop, "zzab").front, 0u);
  EXPECT_EQ(Normalize(drop, "abzz").front, 1u);
  EXPECT_EQ(Normalize({Stage(Kind::kPrepend, "", "__")}, "ab").front, 3u);
  EXPECT_EQ(Normalize({Stage(Kind::kNfkc)}, "\xE2\x85\xA7x").front, 4u) << "VIII";
  // U+203E is a space and a mark in NFKC; the mark still stands for it.
  EXPECT_EQ(Normalize({Stage(Kind::kNfkc), strip}, "\xE2\x80\xBEx").front, 2u);
  EXPECT_EQ(Normalize({Stage(Kind::kNfd), Stage(Kind::kStripAccents)}, "\xCC\x81x").front, 0u);
  EXPECT_EQ(Normalize({Stage(Kind::kNfc)}, "e\xCC\x81x").front, 2u) << "joined by a mark";
  EXPECT_EQ(Normalize({Stage(Kind::kNfkc)}, "\xE2\x85\xA7\xCC\x88").front, 3u)
      << "the last I of VIII has gone to its mark";
}

TEST(NormalizerTest, ATextThatGrowsWithoutMeasureIsAnError) {
  const std::string long_content(200, 'x');
  const auto normalizer = Normalizer::Build({Stage(Kind::kReplaceString, "a", long_content),
                                             Stage(Kind::kReplaceString, "x", long_content)});
  ASSERT_TRUE(normalizer.ok());
  const auto result = normalizer->Normalize(std::string(10000, 'a'));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(result.status().message(), HasSubstr("longer than 160000 bytes"));
}

TEST(NormalizerTest, AnUnsupportedPatternIsRefused) {
  EXPECT_THAT(Normalizer::Build({Stage(Kind::kReplaceRegex, "^a", "")}).status().message(),
              HasSubstr("anchor"));
}

}  // namespace
}  // namespace quire
