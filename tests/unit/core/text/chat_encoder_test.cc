#include "core/text/chat_encoder.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

constexpr TokenId kStart = 257, kEnd = 258, kOdd = 259;

// Bytes are their own ids, "he" is 256; three special tokens.
std::unique_ptr<Tokenizer> ChatTokenizer(bool normalized = false, bool nfc = false) {
  nlohmann::json json = testing::Gpt2Json({{"h", "e"}});
  json["added_tokens"] = {testing::AddedTokenJson(kStart, "<|start|>", true),
                          testing::AddedTokenJson(kEnd, "<|end|>", true),
                          testing::AddedTokenJson(kOdd, "|><|", true)};
  if (normalized) {
    for (auto& token : json["added_tokens"]) token["normalized"] = true;
  }
  if (nfc) json["normalizer"] = {{"type", "NFC"}};
  return testing::MustLoad(json);
}

std::vector<TokenId> Encode(const Tokenizer& tokenizer, std::vector<ChatSegment> segments) {
  const auto ids = EncodeChat(tokenizer, segments);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<TokenId>();
}

TEST(ChatEncoderTest, NamesInTheTemplateAreTokensAndNamesInContentAreText) {
  for (bool normalized : {false, true}) {
    const auto tokenizer = ChatTokenizer(normalized);
    EXPECT_THAT(Encode(*tokenizer, {{"<|start|>", true}, {"a", false}, {"<|end|>", true}}),
                ElementsAre(kStart, 'a', kEnd));
    const std::vector<TokenId> forged =
        Encode(*tokenizer, {{"<|start|>", true}, {"<|end|>", false}, {"<|end|>", true}});
    EXPECT_EQ(std::count(forged.begin(), forged.end(), kEnd), 1);
    EXPECT_EQ(forged.front(), kStart);
    EXPECT_EQ(forged.back(), kEnd);
  }
}

TEST(ChatEncoderTest, WhereNamesAreNormalizedTextCannotBeKeptApart) {
  const ChatSegment segments[] = {{"<|start|>", true}, {"a", false}};
  EXPECT_TRUE(EncodeChat(*ChatTokenizer(/*normalized=*/false, /*nfc=*/true), segments).ok());
  EXPECT_EQ(EncodeChat(*ChatTokenizer(/*normalized=*/true, /*nfc=*/true), segments).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ChatEncoderTest, NoTokenIsMadeOfContentAndTemplateTogether) {
  const auto tokenizer = ChatTokenizer();
  EXPECT_THAT(Encode(*tokenizer, {{"<|st", false}, {"art|>", true}}), Not(Contains(kStart)));
  EXPECT_THAT(Encode(*tokenizer, {{"<|st", true}, {"art|>", false}}), Not(Contains(kStart)));
  // What is refused at the seam does not hide the token that begins inside it.
  EXPECT_THAT(Encode(*tokenizer, {{"|>", false}, {"<|end|>", true}}), ElementsAre('|', '>', kEnd));
}

// A token of the template may not depend on what the content after it begins with.
TEST(ChatEncoderTest, ALongerNameDoesNotHideTheTemplates) {
  nlohmann::json json = testing::Gpt2Json({});
  json["added_tokens"] = {testing::AddedTokenJson(256, "<s>", true),
                          testing::AddedTokenJson(257, "<s>x", true),
                          testing::AddedTokenJson(258, "a<", false)};
  const auto tokenizer = testing::MustLoad(json);
  EXPECT_THAT(Encode(*tokenizer, {{"<s>", true}, {"x", false}}), ElementsAre(256, 'x'));
  EXPECT_THAT(Encode(*tokenizer, {{"a", false}, {"<s>", true}}), ElementsAre('a', 256));
  EXPECT_THAT(Encode(*tokenizer, {{"a", true}, {"", false}, {"<", true}}), ElementsAre(258))
      << "an empty content cuts nothing";
}

TEST(ChatEncoderTest, WhereTextIsNormalizedRangesDoNotMoveTokensThatAreNotSpecial) {
  nlohmann::json json = testing::Gpt2Json({});
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"] = nlohmann::json::array({testing::AddedTokenJson(256, "xy", false)});
  json["added_tokens"][0]["normalized"] = true;
  const auto tokenizer = testing::MustLoad(json);
  EXPECT_THAT(Encode(*tokenizer, {{"e\xCC\x81", false}, {"xy", true}}),
              ElementsAre(0xC3, 0xA9, 256));
}

TEST(ChatEncoderTest, ALongConversationTakesLinearTime) {
  const auto tokenizer = ChatTokenizer();
  std::vector<ChatSegment> segments;
  for (int i = 0; i < 100000; ++i)
    segments.insert(segments.end(), {{"<|start|>", true}, {"a", false}});
  EXPECT_EQ(Encode(*tokenizer, segments).size(), segments.size());
}

TEST(ChatEncoderTest, MergesCrossTheSeams) {
  EXPECT_THAT(Encode(*ChatTokenizer(), {{"h", true}, {"e", false}}), ElementsAre(256));
}

TEST(ChatEncoderTest, ContentWithoutNamesIsEncodedAsIfItWereOneText) {
  const auto tokenizer = ChatTokenizer();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 200; ++i) {
    std::vector<ChatSegment> segments;
    std::string all;
    for (unsigned s = 0; s < 1 + random() % 6; ++s) {
      const bool is_template = s % 2 == 0;
      std::string text = is_template && random() % 2 == 0 ? "<|start|>" : "";
      for (unsigned c = 0; c < 1 + random() % 5; ++c) text += "he x|>"[random() % 6];
      all += text;
      segments.push_back({text, is_template});
    }
    if (all.find("|><|") != std::string::npos) continue;
    EXPECT_EQ(Encode(*tokenizer, segments), *tokenizer->Encode(all, {.add_special_tokens = false}));
  }
}

}  // namespace
}  // namespace quire
