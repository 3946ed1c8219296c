#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/text/chat_template.h"

// Conversations against what transformers' apply_chat_template made of them with each family's
// published template: see deploy/tools/make_chat_goldens.py for the format of the files.

namespace quire {
namespace {

using ::nlohmann::json;

constexpr char kDataDir[] = QUIRE_SOURCE_DIR "/tests/golden/data/chat/";

// Llama 3.2's template is a file of its own, but differs from 3.1's in the default date alone.
const std::map<std::string, std::string> kFamilyOfFile = {{"llama3.2", "llama3.1"}};

std::vector<std::string> GoldenFiles() {
  std::vector<std::string> files;
  for (ChatFamily family : AllChatFamilies()) files.emplace_back(ChatFamilyName(family));
  for (const auto& [file, family] : kFamilyOfFile) files.push_back(file);
  return files;
}

ChatFamily FamilyOf(const std::string& file) {
  const auto other = kFamilyOfFile.find(file);
  return ParseChatFamily(other == kFamilyOfFile.end() ? file : other->second).value();
}

std::vector<ChatMessage> MessagesOf(const json& row, const json& contents) {
  const std::map<std::string, ChatRole> roles = {{"s", ChatRole::kSystem},
                                                 {"u", ChatRole::kUser},
                                                 {"a", ChatRole::kAssistant},
                                                 {"t", ChatRole::kTool}};
  std::vector<ChatMessage> messages;
  for (const json& item : row["m"]) {
    ChatMessage& message = messages.emplace_back();
    message.role = roles.at(item[0].get<std::string>());
    for (size_t i = 1; i < item.size(); ++i) {
      message.content += contents[item[i].get<size_t>()].get<std::string>();
    }
  }
  return messages;
}

ChatOptions OptionsOf(const json& row) {
  const json options = row.value("o", json::object());
  ChatOptions result;
  result.add_generation_prompt = !options.contains("n");
  result.continue_final_message = options.contains("c");
  result.date = options.value("d", "");
  if (options.contains("t")) result.enable_thinking = options["t"].get<bool>();
  return result;
}

std::string Text(const std::vector<ChatSegment>& segments) {
  std::string text;
  for (const ChatSegment& segment : segments) text += segment.text;
  return text;
}

void ExpectRendersAs(ChatFamily family, const json& row, const json& contents) {
  const auto segments = RenderChat(family, MessagesOf(row, contents), OptionsOf(row));
  if (row.contains("e")) {
    EXPECT_EQ(segments.status().code(), absl::StatusCode::kInvalidArgument)
        << "the reference raises: " << row["e"];
    EXPECT_THAT(segments.status().message(), ::testing::HasSubstr("messages"));
    return;
  }
  ASSERT_TRUE(segments.ok()) << segments.status();
  EXPECT_EQ(Text(*segments), row["r"].get<std::string>());
}

class ChatGoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ChatGoldenTest, ConversationsBecomeTheTextOfTheReference) {
  std::ifstream contents_file(std::string(kDataDir) + "contents.json");
  const json contents = json::parse(contents_file);
  std::ifstream rows(kDataDir + GetParam() + ".jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(rows, line)) << "no line about the template";
  int conversations = 0;
  for (; std::getline(rows, line); ++conversations) {
    SCOPED_TRACE(line);
    ExpectRendersAs(FamilyOf(GetParam()), json::parse(line), contents);
  }
  EXPECT_EQ(conversations, 100);
}

std::string TestName(const ::testing::TestParamInfo<std::string>& param) {
  std::string name = param.param;
  for (char& c : name) c = c == '.' || c == '-' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Families, ChatGoldenTest, ::testing::ValuesIn(GoldenFiles()), TestName);

}  // namespace
}  // namespace quire
