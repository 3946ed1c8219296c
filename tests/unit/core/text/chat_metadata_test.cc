#include "core/text/chat_metadata.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace quire {
namespace {

class ChatMetadataTest : public ::testing::Test {
 protected:
  ChatMetadataTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    dir_ = std::filesystem::path(::testing::TempDir()) / "chat_metadata" / test->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~ChatMetadataTest() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& file, const std::string& content) {
    std::ofstream(dir_ / file, std::ios::binary) << content;
  }
  std::string dir() const { return dir_.string(); }

 private:
  std::filesystem::path dir_;
};

TEST_F(ChatMetadataTest, ADirectoryWithoutTheFilesSaysNothing) {
  const auto metadata = ReadChatMetadata(dir());
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_EQ(metadata->chat_template + metadata->bos_token + metadata->eos_token, "");
}

TEST_F(ChatMetadataTest, TheJinjaFileTakesPrecedence) {
  Write("tokenizer_config.json", R"({"chat_template": "old", "bos_token": "<s>"})");
  EXPECT_EQ(ReadChatMetadata(dir())->chat_template, "old");
  Write("chat_template.jinja", "new");
  EXPECT_EQ(ReadChatMetadata(dir())->chat_template, "new");
  EXPECT_EQ(ReadChatMetadata(dir())->bos_token, "<s>");
}

TEST_F(ChatMetadataTest, FilesAreBounded) {
  Write("tokenizer_config.json", std::string(100, ' ') + "{}");
  const auto metadata = ReadChatMetadata(dir(), {.max_file_bytes = 100});
  EXPECT_EQ(metadata.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(metadata.status().message()).find("limit of 100 bytes"), std::string::npos);
}

TEST_F(ChatMetadataTest, ATemplateFileThatIsNotUtf8IsRefused) {
  Write("chat_template.jinja", "\xFF\xFE");
  EXPECT_EQ(ReadChatMetadata(dir()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ChatMetadataTest, TokensAreTextsOrObjectsWithAContent) {
  const auto metadata = ParseChatMetadata(
      R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"})");
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_EQ(metadata->bos_token, "<s>");
  EXPECT_EQ(metadata->eos_token, "</s>");
}

TEST_F(ChatMetadataTest, OfSeveralTemplatesTheDefaultOneCounts) {
  const auto metadata = ParseChatMetadata(
      R"({"chat_template": [{"name": "tool_use", "template": "a"},
                            {"name": "default", "template": "b"}]})");
  EXPECT_EQ(metadata->chat_template, "b");
  EXPECT_EQ(ParseChatMetadata(R"({"chat_template": [{"name": "rag", "template": "a"}, 1]})")
                ->chat_template,
            "");
}

TEST_F(ChatMetadataTest, MalformedFilesAreRefused) {
  for (const char* text : {"", "{", "[]", "1", "{\"a\":\"\xFF\"}", "{\"a\": 1} x"}) {
    EXPECT_EQ(ParseChatMetadata(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST_F(ChatMetadataTest, MembersOfAnotherTypeSayNothing) {
  const auto metadata =
      ParseChatMetadata(R"({"chat_template": 7, "bos_token": null, "eos_token": [1]})");
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_EQ(metadata->chat_template + metadata->bos_token + metadata->eos_token, "");
}

// It was trained on stories and questions, not on turns.
TEST_F(ChatMetadataTest, TheDemoModelIsAskedWithTextAlone) {
  const auto metadata = ReadChatMetadata(QUIRE_SOURCE_DIR "/deploy/models/quire-demo");
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_EQ(metadata->bos_token, "<|end|>");
  const absl::Status status = DetectChatFamily(*metadata).status();
  EXPECT_NE(std::string(status.message()).find("send the prompt as text"), std::string::npos)
      << status;
}

TEST_F(ChatMetadataTest, DeepNestingIsSkipped) {
  const std::string deep = std::string(1000000, '[') + std::string(1000000, ']');
  const auto metadata = ParseChatMetadata("{\"x\": " + deep + ", \"bos_token\": \"<s>\"}");
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_EQ(metadata->bos_token, "<s>");
}

}  // namespace
}  // namespace quire
