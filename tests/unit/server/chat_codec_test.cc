#include "server/rpc/chat_codec.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/server/byte_tokenizer.h"

namespace quire::server {
namespace {

using ::testing::HasSubstr;

constexpr size_t kMaxBytes = 100;

ChatFormat ChatMl() { return {.family = ChatFamily::kChatMl, .why_none = ""}; }

v1::ChatPrompt Conversation(const std::vector<std::pair<std::string, std::string>>& turns) {
  v1::ChatPrompt chat;
  for (const auto& [role, content] : turns) {
    v1::ChatMessage* message = chat.add_messages();
    message->set_role(role);
    message->set_content(content);
  }
  return chat;
}

absl::StatusOr<std::string> Prompt(const v1::ChatPrompt& chat, const ChatFormat& format) {
  const ByteTokenizer tokenizer;
  const auto ids = DecodeChat(chat, format, tokenizer, kMaxBytes);
  if (!ids.ok()) return ids.status();
  return std::string(ids->begin(), ids->end());
}

TEST(ChatCodecTest, AConversationBecomesThePromptOfItsFamily) {
  const v1::ChatPrompt chat = Conversation({{"system", "Be kind."}, {"user", "hi"}});
  EXPECT_EQ(*Prompt(chat, ChatMl()),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ChatCodecTest, OptionsReachTheTemplate) {
  v1::ChatPrompt closed = Conversation({{"user", "hi"}});
  closed.set_add_generation_prompt(false);
  EXPECT_EQ(*Prompt(closed, ChatMl()), "<|im_start|>user\nhi<|im_end|>\n");
  v1::ChatPrompt open = Conversation({{"user", "hi"}, {"assistant", "Well"}});
  open.set_continue_final_message(true);
  EXPECT_EQ(*Prompt(open, ChatMl()), "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nWell");
  v1::ChatPrompt thinking = Conversation({{"user", "hi"}});
  thinking.set_enable_thinking(false);
  EXPECT_THAT(*Prompt(thinking, {.family = ChatFamily::kQwen3, .why_none = ""}),
              HasSubstr("<think>\n\n</think>"));
  v1::ChatPrompt dated = Conversation({{"user", "hi"}});
  dated.set_date("01 Feb 2025");
  EXPECT_THAT(*Prompt(dated, {.family = ChatFamily::kLlama31, .why_none = ""}),
              HasSubstr("Today Date: 01 Feb 2025"));
}

TEST(ChatCodecTest, WhatCannotBeRenderedIsRefusedWithTheReason) {
  const struct {
    v1::ChatPrompt chat;
    ChatFormat format;
    absl::StatusCode code;
    const char* reason;
  } cases[] = {
      {Conversation({{"user", "hi"}}),
       {.family = std::nullopt, .why_none = "no template"},
       absl::StatusCode::kFailedPrecondition,
       "chat: no template"},
      {Conversation({}), ChatMl(), absl::StatusCode::kInvalidArgument, "messages"},
      {Conversation({{"narrator", "hi"}}), ChatMl(), absl::StatusCode::kInvalidArgument,
       "narrator"},
      {Conversation({{"tool", "42"}}), ChatMl(), absl::StatusCode::kInvalidArgument, "messages[0]"},
      {Conversation({{"user", std::string(kMaxBytes + 1, 'x')}}), ChatMl(),
       absl::StatusCode::kInvalidArgument, "100"},
  };
  for (const auto& c : cases) {
    const absl::Status status = Prompt(c.chat, c.format).status();
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.reason));
  }
}

TEST(ChatCodecTest, AModelWithoutATemplateServesWithoutChat) {
  const ByteTokenizer tokenizer;
  const auto format = LoadChatFormat(QUIRE_SOURCE_DIR "/deploy/models/quire-demo", "", tokenizer);
  ASSERT_TRUE(format.ok()) << format.status();
  EXPECT_FALSE(format->family.has_value());
  EXPECT_THAT(format->why_none, HasSubstr("no chat template"));
}

TEST(ChatCodecTest, AFamilyByNameMustExistAndFitTheTokenizer) {
  const ByteTokenizer tokenizer;
  const auto choose = [&](const char* name) {
    return LoadChatFormat(QUIRE_SOURCE_DIR "/deploy/models/quire-demo", name, tokenizer).status();
  };
  EXPECT_EQ(choose("klingon").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(choose("klingon").message()), HasSubstr("llama3.1"));
  EXPECT_EQ(choose("qwen3").code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace quire::server
