#include "core/text/incremental_detokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "core/text/utf8.h"
#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::quire::testing::AddedTokenJson;
using ::quire::testing::Gpt2Json;
using ::quire::testing::MustLoad;

// Ids 0 to 255 are the bytes; then "\xF0\x9F", "\x98\x80!" in two steps, and a special token.
std::unique_ptr<BpeTokenizer> ByteTokenizer() {
  auto json = Gpt2Json({{"\xF0", "\x9F"}, {"\x98", "\x80"}, {"\x98\x80", "!"}});
  json["added_tokens"].push_back(AddedTokenJson(259, "<end>", true));
  return MustLoad(json);
}

TEST(IncrementalDetokenizerTest, ACodePointAppearsOnlyWhenItsLastByteHasCome) {
  const auto tokenizer = ByteTokenizer();
  IncrementalDetokenizer stream(*tokenizer);
  stream.Append('a');
  stream.Append(256);
  EXPECT_EQ(stream.TakeText(0), "a");
  EXPECT_EQ(stream.TakeText(0), "");
  stream.Append(258);
  EXPECT_EQ(stream.TakeText(0), "\xF0\x9F\x98\x80!");
  EXPECT_EQ(stream.Finish(0), "");
}

TEST(IncrementalDetokenizerTest, AnUnfinishedCodePointEndsAsAReplacementCharacter) {
  const auto tokenizer = ByteTokenizer();
  IncrementalDetokenizer stream(*tokenizer);
  stream.Append(256);
  EXPECT_EQ(stream.TakeText(0), "");
  EXPECT_EQ(stream.Finish(0), "\xEF\xBF\xBD");
}

TEST(IncrementalDetokenizerTest, HeldBackBytesComeOnceTheyAreReleased) {
  const auto tokenizer = ByteTokenizer();
  IncrementalDetokenizer stream(*tokenizer);
  for (char c : std::string("abcST")) stream.Append(c);
  EXPECT_EQ(stream.TakeText(2), "abc");
  EXPECT_EQ(stream.TakeText(9), "");
  stream.Append('x');
  EXPECT_EQ(stream.TakeText(0), "STx");
}

TEST(IncrementalDetokenizerTest, TrimmedBytesAreNeverShown) {
  const auto tokenizer = ByteTokenizer();
  IncrementalDetokenizer stream(*tokenizer);
  for (char c : std::string("abST")) stream.Append(c);
  EXPECT_EQ(stream.TakeText(2), "ab");
  for (char c : std::string("OP.")) stream.Append(c);
  EXPECT_EQ(stream.Finish(5), "");
}

TEST(IncrementalDetokenizerTest, SpecialTokensAndUnknownIdsAddNothing) {
  const auto tokenizer = ByteTokenizer();
  IncrementalDetokenizer stream(*tokenizer);
  for (TokenId id : {TokenId{259}, TokenId{-1}, TokenId{260}, TokenId{1 << 30}, TokenId{'a'}}) {
    stream.Append(id);
  }
  EXPECT_EQ(stream.TakeText(0), "a");
}

// Llama 2's: the leading space of a text is dropped, that of a continuation is not.
std::unique_ptr<BpeTokenizer> StrippingTokenizer() {
  auto json = Gpt2Json({{" ", "a"}});
  json["decoder"] = nlohmann::json::parse(R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "\u0120"}, "content": " "}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");
  return MustLoad(json);
}

TEST(IncrementalDetokenizerTest, OnlyATextsBeginningLosesItsSpace) {
  const auto tokenizer = StrippingTokenizer();
  using Position = IncrementalDetokenizer::Position;
  for (const Position position : {Position::kTextStart, Position::kContinuation}) {
    IncrementalDetokenizer stream(*tokenizer, position);
    stream.Append(256);
    stream.Append(256);
    EXPECT_EQ(stream.TakeText(0), position == Position::kTextStart ? "a a" : " a a");
  }
}

TEST(IncrementalDetokenizerTest, ADroppedSpaceMayBePartOfWhatIsTrimmed) {
  const auto tokenizer = StrippingTokenizer();
  IncrementalDetokenizer stream(*tokenizer, IncrementalDetokenizer::Position::kTextStart);
  stream.Append(256);
  EXPECT_EQ(stream.TakeText(2), "");
  EXPECT_EQ(stream.Finish(2), "") << "the stop string \" a\" has two bytes, one of them dropped";
}

TEST(IncrementalDetokenizerDeathTest, TrimmingWhatWasShownIsABrokenInvariant) {
  const auto tokenizer = ByteTokenizer();
  IncrementalDetokenizer stream(*tokenizer);
  stream.Append('a');
  EXPECT_EQ(stream.TakeText(0), "a");
  EXPECT_DEATH(stream.Finish(1), "were shown");
}

TEST(IncrementalDetokenizerTest, AllTextTogetherIsTheDecodedStreamLessTheTrim) {
  const auto tokenizer = ByteTokenizer();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string likely = "ab\x80\xBF\x9F\x98\xA0\xC3\xE2\xED\xF0\xF4";
  for (int round = 0; round < 5000; ++round) {
    IncrementalDetokenizer stream(*tokenizer);
    std::string bytes;
    std::string text;
    size_t unshown = 0;  // lower bound on what was held back
    for (size_t step = random() % 30; step > 0; --step) {
      const TokenId id = random() % 4 == 0 ? static_cast<TokenId>(random() % 262)
                                           : static_cast<uint8_t>(likely[random() % 12]);
      stream.Append(id);
      bytes += tokenizer->TokenBytes(id);
      unshown += tokenizer->TokenBytes(id).size();
      if (random() % 2 == 0) continue;
      const size_t hold_back = random() % 6;
      const std::string part = stream.TakeText(hold_back);
      ASSERT_TRUE(IsValidUtf8(part));
      unshown = std::min(unshown, hold_back);
      text += part;
    }
    const size_t trim = unshown == 0 ? 0 : random() % (unshown + 1);
    text += stream.Finish(trim);
    ASSERT_EQ(text, ReplaceInvalidUtf8(bytes.substr(0, bytes.size() - trim)));
  }
}

}  // namespace
}  // namespace quire
