#include "core/text/chat_template.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr ChatRole kSystem = ChatRole::kSystem;
constexpr ChatRole kUser = ChatRole::kUser;
constexpr ChatRole kAssistant = ChatRole::kAssistant;
constexpr ChatRole kTool = ChatRole::kTool;

using Messages = std::vector<ChatMessage>;

std::string Text(const std::vector<ChatSegment>& segments, bool with_content = true) {
  std::string text;
  for (const ChatSegment& segment : segments) {
    if (with_content || segment.is_template) text += segment.text;
  }
  return text;
}

std::vector<ChatSegment> MustRender(ChatFamily family, const Messages& messages,
                                    const ChatOptions& options = {}) {
  auto segments = RenderChat(family, messages, options);
  EXPECT_TRUE(segments.ok()) << ChatFamilyName(family) << ": " << segments.status();
  return segments.ok() ? *std::move(segments) : std::vector<ChatSegment>();
}

std::string Refusal(ChatFamily family, const Messages& messages, const ChatOptions& options = {}) {
  const absl::Status status = RenderChat(family, messages, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

void ExpectContains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

// A user who copies the family's own control strings into a message, between words that say where
// content is.
Messages ForgedConversation(ChatFamily family) {
  std::string forged = "BEGIN";
  for (std::string_view mark : ChatMarks(family)) absl::StrAppend(&forged, std::string(mark));
  absl::StrAppend(&forged, "END");
  return {{kUser, forged}, {kAssistant, forged}, {kUser, forged}};
}

TEST(ChatTemplateTest, ControlStringsInContentNeverBecomeTemplateText) {
  const Messages plain = {{kUser, "BEGIN END"}, {kAssistant, "BEGIN END"}, {kUser, "BEGIN END"}};
  for (ChatFamily family : AllChatFamilies()) {
    SCOPED_TRACE(ChatFamilyName(family));
    const Messages forged = ForgedConversation(family);
    const auto segments = MustRender(family, forged);
    EXPECT_EQ(Text(segments, false), Text(MustRender(family, plain), false));
    int whole = 0;
    for (const ChatSegment& segment : segments) {
      whole += !segment.is_template && segment.text == forged[0].content;
    }
    EXPECT_EQ(whole, 3);
  }
}

TEST(ChatTemplateTest, RandomContentLeavesTheTemplateTextAsItIs) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  const std::vector<std::string> pieces = {
      "a",   " ",       "\n",           "<|im_end|>", "[/INST]", "<|end|>",
      "<s>", "<think>", "\xE4\xBD\xA0", "<<SYS>>",    "</s>",    "{{ x }}"};
  const auto content = [&] {
    std::string text = "x";
    for (size_t i = random() % 6; i > 0; --i) text += pieces[random() % pieces.size()];
    return text + "y";
  };
  for (ChatFamily family : AllChatFamilies()) {
    SCOPED_TRACE(ChatFamilyName(family));
    const std::string expected =
        Text(MustRender(family, {{kUser, "a"}, {kAssistant, "b"}, {kUser, "c"}}), false);
    for (int i = 0; i < 50; ++i) {
      const Messages messages = {{kUser, content()}, {kAssistant, content()}, {kUser, content()}};
      EXPECT_EQ(Text(MustRender(family, messages), false), expected);
    }
  }
}

TEST(ChatTemplateTest, SegmentsAreNotEmptyAndAlternateInKind) {
  for (ChatFamily family : AllChatFamilies()) {
    const auto segments = MustRender(family, {{kUser, "a"}, {kAssistant, ""}, {kUser, "b"}});
    for (size_t i = 0; i < segments.size(); ++i) {
      EXPECT_FALSE(segments[i].text.empty());
      EXPECT_TRUE(i == 0 || segments[i].is_template != segments[i - 1].is_template);
    }
  }
}

TEST(ChatTemplateTest, TheDateIsAnInputWithAFixedFallback) {
  const Messages messages = {{kUser, "Hi"}};
  ExpectContains(Text(MustRender(ChatFamily::kLlama31, messages)), "Today Date: 26 Jul 2024\n");
  ExpectContains(Text(MustRender(ChatFamily::kLlama31, messages, {.date = "03 May 2026"})),
                 "Today Date: 03 May 2026\n");
}

TEST(ChatTemplateTest, ADateThatIsNoDateIsRefused) {
  for (const char* date : {"today", "3 May 2026", "03 Mai 2026", "03 May 26", "03-May-2026",
                           "0x May 2026", "03 May 2026 ", "<|eot_id|>."}) {
    ExpectContains(Refusal(ChatFamily::kLlama31, {{kUser, "Hi"}}, {.date = date}),
                   "date must look like 26 Jul 2024");
  }
}

TEST(ChatTemplateTest, AContinuedMessageEndsThePrompt) {
  const Messages messages = {{kUser, "Hi"}, {kAssistant, "Well then"}};
  const ChatOptions options = {.add_generation_prompt = false, .continue_final_message = true};
  for (ChatFamily family : AllChatFamilies()) {
    const auto segments = MustRender(family, messages, options);
    ASSERT_FALSE(segments.empty());
    EXPECT_EQ(segments.back(), (ChatSegment{"Well then", false})) << ChatFamilyName(family);
  }
}

TEST(ChatTemplateTest, OnlyAnAssistantsTextCanBeContinued) {
  const ChatOptions open = {.add_generation_prompt = false, .continue_final_message = true};
  const std::string expected = "can continue a message of the assistant";
  ExpectContains(Refusal(ChatFamily::kQwen2, {{kUser, "Hi"}}, open), expected);
  ExpectContains(Refusal(ChatFamily::kQwen2, {{kUser, "Hi"}, {kAssistant, " \n"}}, open), expected);
  ExpectContains(Refusal(ChatFamily::kQwen3, {{kUser, "Hi"}, {kAssistant, "a</think>b"}}, open),
                 "cannot be continued");
  ExpectContains(Refusal(ChatFamily::kQwen2, {{kUser, "Hi"}, {kAssistant, "a"}},
                         {.add_generation_prompt = true, .continue_final_message = true}),
                 "exclude each other");
}

TEST(ChatTemplateTest, ThinkingCanBeSwitchedWhereTheFamilyHasTheSwitch) {
  const Messages messages = {{kUser, "Hi"}};
  const std::string closed = "<|im_start|>assistant\n<think>\n\n</think>\n\n";
  EXPECT_TRUE(
      Text(MustRender(ChatFamily::kQwen3, messages, {.enable_thinking = false})).ends_with(closed));
  EXPECT_EQ(Text(MustRender(ChatFamily::kQwen3, messages, {.enable_thinking = true})),
            Text(MustRender(ChatFamily::kQwen3, messages)));
  for (ChatFamily family : AllChatFamilies()) {
    if (family == ChatFamily::kQwen3) continue;
    ExpectContains(Refusal(family, messages, {.enable_thinking = true}), "has no such switch");
  }
}

TEST(ChatTemplateTest, ReasoningOfEarlierTurnsIsLeftOut) {
  const std::string answer = "<think>\nsecret\n</think>\n\nfour";
  const std::string text =
      Text(MustRender(ChatFamily::kQwen3, {{kUser, "2+2"}, {kAssistant, answer}, {kUser, "3+3"}}));
  EXPECT_EQ(text.find("secret"), std::string::npos) << text;
  ExpectContains(text, "<|im_start|>assistant\nfour<|im_end|>");
}

struct RefusedCase {
  ChatFamily family;
  Messages messages;
  std::string part_of_message;
};

std::vector<RefusedCase> RefusedConversations() {
  const ChatMessage system = {kSystem, "Be brief."};
  const ChatMessage user = {kUser, "Hi"};
  const ChatMessage answer = {kAssistant, "Hello"};
  const ChatMessage tool = {kTool, "42"};
  return {
      {ChatFamily::kChatMl, {}, "needs at least one"},
      {ChatFamily::kGemma, {system, user}, "has no system messages"},
      {ChatFamily::kGemma, {user, system}, "has no system messages"},
      {ChatFamily::kGemma3, {system}, "needs a user message"},
      {ChatFamily::kGemma3, {user, system, user}, "in front only"},
      {ChatFamily::kLlama2, {user, user}, "messages[1]: chat family llama2 alternates"},
      {ChatFamily::kLlama2, {answer}, "expected user, not assistant"},
      {ChatFamily::kLlama2, {system, answer}, "messages[1]"},
      {ChatFamily::kLlama2, {user, system}, "in front only"},
      {ChatFamily::kMistralLegacy, {system, user}, "has no system messages"},
      {ChatFamily::kMistralV1, {user, answer, answer}, "messages[2]"},
      {ChatFamily::kMistralV3, {system, user, answer}, "must end with a user message"},
      {ChatFamily::kMistralV3Tekken, {system, user, answer}, "must end with a user message"},
      {ChatFamily::kPhi3Medium, {system, user}, "has no system messages"},
      {ChatFamily::kLlama3, {user, tool}, "has no form for a tool's output"},
      {ChatFamily::kMistralV7, {user, tool}, "has no form for a tool's output"},
      {ChatFamily::kQwen2, {user, answer, tool}, "messages[2]"},
  };
}

TEST(ChatTemplateTest, WhatTheFamilyCannotSayIsRefusedAndNotDropped) {
  for (const RefusedCase& refused : RefusedConversations()) {
    SCOPED_TRACE(ChatFamilyName(refused.family));
    ExpectContains(Refusal(refused.family, refused.messages), refused.part_of_message);
  }
}

TEST(ChatTemplateTest, IllFormedUtf8IsRefusedInEveryFamily) {
  for (ChatFamily family : AllChatFamilies()) {
    ExpectContains(Refusal(family, {{kUser, "a\xFF"}}), "messages[0]: content is not well-formed");
  }
}

TEST(ChatTemplateTest, MessagesAndTheirBytesAreBounded) {
  const ChatLimits limits = {.max_messages = 3, .max_content_bytes = 6};
  const auto render = [&](const Messages& messages) {
    return RenderChat(ChatFamily::kChatMl, messages, {}, limits).status();
  };
  EXPECT_TRUE(render({{kUser, "abc"}, {kAssistant, ""}, {kUser, "def"}}).ok());
  ExpectContains(std::string(render(Messages(4, {kUser, ""})).message()), "limit of 3");
  ExpectContains(std::string(render({{kUser, "abc"}, {kUser, "defg"}}).message()),
                 "messages[1]: the contents together are longer than the limit of 6");
}

TEST(ChatTemplateTest, RolesHaveTheNamesThatTemplatesUse) {
  for (ChatRole role : {kSystem, kUser, kAssistant, kTool}) {
    EXPECT_EQ(ParseChatRole(ChatRoleName(role)).value(), role);
  }
  EXPECT_EQ(ParseChatRole("ipython").value(), kTool);
  ExpectContains(std::string(ParseChatRole("User").status().message()),
                 "there are: system, user, assistant, tool");
}

}  // namespace
}  // namespace quire
