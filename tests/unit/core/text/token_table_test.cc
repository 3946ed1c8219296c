#include "core/text/token_table.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quire {
namespace {

using Rule = LeadingStrip::Rule;
using Step = DecoderSpec::TokenStep;

std::string BytesOf(const DecoderSpec& spec, std::string_view token) {
  const auto decoder = TokenDecoder::Build(spec);
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  const auto bytes = decoder->BytesOf(token);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *bytes : "";
}

TEST(TokenDecoderTest, StepsApplyInOrderAndThenBytesAreRead) {
  DecoderSpec spec;
  spec.steps = {{Step::Kind::kReplaceString, "_", " "},
                {Step::Kind::kReplaceRegex, "[xy]+", "z"},
                {Step::Kind::kStripLeft, "", " ", 2}};
  EXPECT_EQ(BytesOf(spec, "a_xyb"), "a zb");
  EXPECT_EQ(BytesOf(spec, "___a_"), " a ");
  EXPECT_EQ(BytesOf(spec, "<0x41>"), "<0z41>") << "bytes only with byte_fallback";
  spec.steps.clear();
  spec.byte_fallback = true;
  EXPECT_EQ(BytesOf(spec, "<0xE2>"), "\xE2");
  EXPECT_EQ(BytesOf(spec, "<0xe2>"), "\xE2");
  for (const char* text : {"<0xG2>", "<0x2>", "<0x123>", "0x0A", "<0x0A"}) {
    EXPECT_EQ(BytesOf(spec, text), text);
  }
}

TEST(TokenDecoderTest, ATokenMustNotGrowWithoutBound) {
  const std::string content(256, 'a');
  for (const Step::Kind kind : {Step::Kind::kReplaceString, Step::Kind::kReplaceRegex}) {
    DecoderSpec spec;
    spec.steps = {{kind, "a", content}};
    EXPECT_EQ(BytesOf(spec, "aaaa").size(), 1024u);
    const auto once = TokenDecoder::Build(spec)->BytesOf(std::string(100, 'a'));
    EXPECT_EQ(once.status().code(), absl::StatusCode::kInvalidArgument);
    spec.steps.push_back(spec.steps.front());
    const auto twice = TokenDecoder::Build(spec)->BytesOf("a");
    EXPECT_EQ(twice.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(BytesOf(spec, std::string(1 << 20, 'b')), std::string(1 << 20, 'b'));
  }
}

TokenTable Table(Rule rule, std::string content, size_t count,
                 IllFormed ill_formed = IllFormed::kEachByte) {
  TokenTable table(ill_formed, {rule, std::move(content), count});
  table.Set(0, " a", false);
  table.Set(1, " ", false);
  table.Set(2, "<s>", true);
  table.Set(3, "\xE4\xBD", false);
  return table;
}

TEST(TokenTableTest, CopiesAreStrippedFromTheTextsBeginningAlone) {
  const TokenTable table = Table(Rule::kCopies, " ", 1);
  EXPECT_EQ(table.Decode(std::vector<TokenId>{0, 0}, true), "a a");
  EXPECT_EQ(table.Decode(std::vector<TokenId>{1, 0}, true), " a");
  EXPECT_EQ(table.Decode(std::vector<TokenId>{2, 0}, true), "a") << "hidden tokens do not count";
  EXPECT_EQ(table.Decode(std::vector<TokenId>{2, 0}, false), "<s> a");
  EXPECT_EQ(Table(Rule::kCopies, " ", 3).Decode(std::vector<TokenId>{1, 1, 0}, true), "a");
}

TEST(TokenTableTest, OtherBytesAtTheStartFollowTheRule) {
  for (const Rule rule : {Rule::kFirstToken, Rule::kTokensUntilText}) {
    TokenTable table = Table(rule, "", 5);
    table.SetAtStart(0, "a");
    table.SetAtStart(1, "");
    EXPECT_EQ(table.Decode(std::vector<TokenId>{0, 0}, true), "a a");
    EXPECT_EQ(table.Decode(std::vector<TokenId>{1, 0}, true),
              rule == Rule::kFirstToken ? " a" : "a");
  }
  TokenTable once = Table(Rule::kTokensUntilText, "", 1);
  once.SetAtStart(1, "");
  EXPECT_EQ(once.Decode(std::vector<TokenId>{1, 1}, true), " ");
}

TEST(TokenTableTest, IllFormedBytesFollowTheRule) {
  EXPECT_EQ(Table(Rule::kNothing, "", 0).Decode(std::vector<TokenId>{3, 0}, true),
            "\xEF\xBF\xBD\xEF\xBF\xBD a");
  EXPECT_EQ(Table(Rule::kNothing, "", 0, IllFormed::kMaximalSubpart)
                .Decode(std::vector<TokenId>{3, 0}, true),
            "\xEF\xBF\xBD a");
}

}  // namespace
}  // namespace quire
