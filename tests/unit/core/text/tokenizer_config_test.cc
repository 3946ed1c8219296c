#include "core/text/tokenizer_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

using ::testing::HasSubstr;

TEST(TokenizerConfigTest, AbsentFilesConfigureNothing) {
  const auto config = ParseTokenizerConfig("", "", {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->added_tokens.empty());
  EXPECT_FALSE(config->add_bos_token.has_value());
  EXPECT_FALSE(config->bos_token.has_value());
}

TEST(TokenizerConfigTest, BothFilesNameTokens) {
  const auto config = ParseTokenizerConfig(
      R"({"add_bos_token": false, "bos_token": {"content": "<s>"}, "eos_token": "</s>",
          "added_tokens_decoder": {"7": {"content": "<x>", "special": true, "rstrip": true}}})",
      R"({"<x>": 7, "<y>": 8})", {});
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->added_tokens.size(), 2u);
  EXPECT_EQ(config->added_tokens[0].id, 7);
  EXPECT_TRUE(config->added_tokens[0].special && config->added_tokens[0].rstrip);
  EXPECT_EQ(config->added_tokens[1].content, "<y>");
  EXPECT_FALSE(config->added_tokens[1].special);
  EXPECT_EQ(config->add_bos_token, false);
  EXPECT_EQ(config->bos_token, "<s>");
  EXPECT_EQ(config->eos_token, "</s>");
}

struct Bad {
  const char* config;
  const char* added;
  const char* named;
};

TEST(TokenizerConfigTest, ErrorsNameFileAndMember) {
  for (const Bad& bad : std::initializer_list<Bad>{
           {"[]", "", "tokenizer_config.json: file: not a JSON object"},
           {R"({"add_bos_token": 1})", "", "add_bos_token must be true or false"},
           {R"({"bos_token": 1})", "", "needs a string bos_token"},
           {R"({"bos_token": {}})", "", "needs a string content"},
           {R"({"added_tokens_decoder": []})", "", "needs an object added_tokens_decoder"},
           {R"({"added_tokens_decoder": {"x": {"content": "a"}}})", "", "from 0 to 4194303"},
           {R"({"added_tokens_decoder": {"-1": {"content": "a"}}})", "", "from 0 to 4194303"},
           {R"({"added_tokens_decoder": {"9999999999": {"content": "a"}}})", "", "from 0 to"},
           {R"({"added_tokens_decoder": {"1": {"content": ""}}})", "", "1 to 256 bytes"},
           {R"({"added_tokens_decoder": {"1": 2}})", "", "needs a string content"},
           {"", R"({"a": -1})", "added_tokens.json: \"a\""},
           {"", R"({"": 1})", "1 to 256 bytes"},
           {R"({"added_tokens_decoder": {"1": {"content": "a"}}})", R"({"a": 2})",
            "tokenizer_config.json has 1"},
       }) {
    const auto config = ParseTokenizerConfig(bad.config, bad.added, {});
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << bad.named;
    EXPECT_THAT(config.status().message(), HasSubstr(bad.named));
  }
}

}  // namespace
}  // namespace quire
