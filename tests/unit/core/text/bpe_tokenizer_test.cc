#include "core/text/bpe_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::quire::testing::AddedTokenJson;
using ::quire::testing::Gpt2Json;
using ::quire::testing::MustLoad;
using ::quire::testing::PrefixTemplateJson;
using ::quire::testing::Spell;
using ::quire::testing::SplitJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kLlama3Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::vector<TokenId> Encode(const Tokenizer& tokenizer, std::string_view text,
                            const Tokenizer::EncodeOptions& options = {}) {
  auto ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *std::move(ids) : std::vector<TokenId>();
}

nlohmann::json JsonWithTokens() {
  auto json = Gpt2Json({{"h", "i"}, {" ", "hi"}});
  json["added_tokens"] = nlohmann::json::array(
      {AddedTokenJson(258, "<s>", true), AddedTokenJson(259, "<tool>", false)});
  json["post_processor"] = PrefixTemplateJson("<s>", 258);
  return json;
}

TEST(BpeTokenizerTest, MergesStayWithinPieces) {
  const auto tokenizer = MustLoad(Gpt2Json({{"h", "i"}, {" ", "hi"}, {"hi", " hi"}}));
  EXPECT_THAT(Encode(*tokenizer, "hi hi"), ElementsAre(256, 257)) << "and not 258";
  EXPECT_THAT(Encode(*tokenizer, ""), ElementsAre());
}

TEST(BpeTokenizerTest, MergesMayBeWrittenAsPairs) {
  auto json = Gpt2Json({{"h", "i"}});
  json["model"]["merges"] = nlohmann::json::parse(R"([["h", "i"]])");
  EXPECT_THAT(Encode(*MustLoad(json), "hi"), ElementsAre(256));
}

TEST(BpeTokenizerTest, SplitPatternReplacesTheGpt2One) {
  auto json = Gpt2Json({{"1", "2"}, {"12", "3"}, {"123", "4"}, {".", "a"}});
  json["pre_tokenizer"] = SplitJson(kLlama3Pattern);
  EXPECT_THAT(Encode(*MustLoad(json), "1234.a"), ElementsAre(257, '4', 259));
}

TEST(BpeTokenizerTest, DigitsAreCutOutBeforeTheRest) {
  auto json = Gpt2Json({{"1", "2"}, {" ", "1"}});
  const auto byte_level = json["pre_tokenizer"];
  for (const bool individual : {true, false}) {
    const nlohmann::json digits = {{"type", "Digits"}, {"individual_digits", individual}};
    json["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers", nlohmann::json::array({digits, byte_level})}};
    const std::vector<TokenId> expected =
        individual ? std::vector<TokenId>{' ', '1', '2'} : std::vector<TokenId>{' ', 256};
    EXPECT_EQ(Encode(*MustLoad(json), " 12"), expected);
  }
}

TEST(BpeTokenizerTest, APrefixSpaceIsAddedToEveryTextBetweenAddedTokens) {
  auto json = Gpt2Json({});
  json["pre_tokenizer"]["add_prefix_space"] = true;
  json["added_tokens"] = nlohmann::json::array({AddedTokenJson(256, "<s>", true)});
  EXPECT_THAT(Encode(*MustLoad(json), "a<s>b<s> c"),
              ElementsAre(' ', 'a', 256, ' ', 'b', 256, ' ', 'c'));
}

TEST(BpeTokenizerTest, TheTemplateIsAddedOnRequest) {
  const auto tokenizer = MustLoad(JsonWithTokens());
  EXPECT_THAT(Encode(*tokenizer, "hi"), ElementsAre(258, 256));
  EXPECT_THAT(Encode(*tokenizer, "hi", {.add_special_tokens = false}), ElementsAre(256));
  EXPECT_THAT(Encode(*tokenizer, ""), ElementsAre(258));
}

TEST(BpeTokenizerTest, TemplatesInASequenceEncloseEachOther) {
  auto json = JsonWithTokens();
  auto outer = PrefixTemplateJson("<tool>", 259);
  std::swap(outer["single"][0], outer["single"][1]);
  const auto byte_level = nlohmann::json::object({{"type", "ByteLevel"}});
  json["post_processor"] = {
      {"type", "Sequence"},
      {"processors", nlohmann::json::array({byte_level, json["post_processor"], outer})}};
  EXPECT_THAT(Encode(*MustLoad(json), "a"), ElementsAre(258, 'a', 259));
}

TEST(BpeTokenizerTest, TextThatMustNotForgeSpecialTokensStaysText) {
  const auto tokenizer = MustLoad(JsonWithTokens());
  const Tokenizer::EncodeOptions plain = {.add_special_tokens = false, .parse_special = false};
  EXPECT_THAT(Encode(*tokenizer, "<s><tool>", plain), ElementsAre('<', 's', '>', 259));
  EXPECT_THAT(Encode(*tokenizer, "<s>", {.add_special_tokens = false}), ElementsAre(258));
}

TEST(BpeTokenizerTest, IllFormedTextIsAnInvalidArgument) {
  const auto ids = MustLoad(JsonWithTokens())->Encode("a\xC3", {});
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ids.status().message(), HasSubstr("UTF-8"));
}

TEST(BpeTokenizerTest, TokensHaveTheBytesTheyAddToTheOutput) {
  const auto tokenizer = MustLoad(JsonWithTokens());
  EXPECT_EQ(tokenizer->vocab_size(), 260);
  EXPECT_EQ(tokenizer->TokenBytes(257), " hi");
  EXPECT_EQ(tokenizer->TokenBytes(0xF0), "\xF0");
  EXPECT_EQ(tokenizer->TokenBytes(0), std::string_view("\0", 1));
  EXPECT_EQ(tokenizer->TokenBytes(258), "") << "special";
  EXPECT_EQ(tokenizer->TokenBytes(259), "<tool>");
  EXPECT_EQ(tokenizer->TokenBytes(-1), "");
  EXPECT_EQ(tokenizer->TokenBytes(260), "");
  EXPECT_TRUE(tokenizer->IsSpecial(258));
  EXPECT_FALSE(tokenizer->IsSpecial(259));
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
  EXPECT_FALSE(tokenizer->IsSpecial(260));
}

TEST(BpeTokenizerTest, DecodeJoinsBytesBeforeItReadsThemAsText) {
  const auto tokenizer = MustLoad(JsonWithTokens());
  const std::vector<TokenId> ids = {258, 0xC3, 0xA9, 259, -7, 9999, 0xC3, 257};
  EXPECT_EQ(tokenizer->Decode(ids, true), "\xC3\xA9<tool>\xEF\xBF\xBD hi");
  EXPECT_EQ(tokenizer->Decode(ids, false), "<s>\xC3\xA9<tool>\xEF\xBF\xBD hi");
}

TEST(BpeTokenizerTest, AddedTokensOutsideTheByteAlphabetDecodeToThemselves) {
  auto json = Gpt2Json({});
  json["added_tokens"] = nlohmann::json::array(
      {AddedTokenJson(256, "a b", false), AddedTokenJson(257, "\xC3\xA9\xC3\xA9", false)});
  const auto tokenizer = MustLoad(json);
  EXPECT_EQ(tokenizer->TokenBytes(256), "a b");
  EXPECT_EQ(tokenizer->TokenBytes(257), "\xE9\xE9") << "as the tokenizers library decodes it";
}

TEST(BpeTokenizerTest, AMegabyteWithoutSpacesIsEncodedAndDecodedBack) {
  auto json = Gpt2Json({{"a", "b"}, {"ab", "ab"}, {" ", " "}, {"  ", "  "}});
  json["pre_tokenizer"] = SplitJson(kLlama3Pattern);
  const auto tokenizer = MustLoad(json);
  std::string letters;
  while (letters.size() < 1 << 20) letters += "abba";
  for (const std::string& text : {letters, std::string(1 << 20, ' '), std::string(1 << 20, '\n'),
                                  std::string(1 << 20, '7'), std::string(1 << 20, '!')}) {
    EXPECT_EQ(tokenizer->Decode(Encode(*tokenizer, text), true), text);
  }
}

TEST(BpeTokenizerTest, ASpecialTokenThatMergesSpellIsNeverMadeOfText) {
  nlohmann::json json = Gpt2Json({{"<", "s"}, {"<s", ">"}});
  json["pre_tokenizer"]["use_regex"] = false;
  json["added_tokens"] = nlohmann::json::array({AddedTokenJson(257, "<s>", true)});
  const Tokenizer::ByteRange all = {0, 3};
  for (const bool ignore_merges : {false, true}) {
    json["model"]["ignore_merges"] = ignore_merges;
    const auto tokenizer = MustLoad(json);
    EXPECT_THAT(*tokenizer->Encode("<s>", {}), ElementsAre(257));
    EXPECT_THAT(*tokenizer->Encode("<s>", {.parse_special = false}), ElementsAre(256, '>'));
    EXPECT_THAT(*tokenizer->Encode("<s>", {.literal = std::span(&all, 1)}), ElementsAre(256, '>'));
  }
}

TEST(LoadTokenizerTest, ReadsTheFileOfAModelDirectory) {
  const std::filesystem::path dir = std::filesystem::path(::testing::TempDir()) / "quire_tokenizer";
  std::filesystem::create_directories(dir);
  std::ofstream(dir / "tokenizer.json") << JsonWithTokens().dump();
  const auto tokenizer = LoadTokenizer(dir.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(Encode(**tokenizer, "hi"), ElementsAre(258, 256));
  EXPECT_THAT(LoadTokenizer(dir.string(), {.max_file_bytes = 10}).status().message(),
              HasSubstr("larger than the limit"));
  EXPECT_EQ(LoadTokenizer((dir / "tokenizer.json").string()).status().code(),
            absl::StatusCode::kNotFound);
  std::filesystem::remove_all(dir);
  EXPECT_EQ(LoadTokenizer(dir.string()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quire
