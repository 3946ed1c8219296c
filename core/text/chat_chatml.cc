#include <algorithm>

#include "core/text/chat_renderers.h"

namespace quire {
namespace {

// What the template says where the conversation has no system message. Empty: nothing.
std::string_view DefaultSystem(ChatFamily family) {
  switch (family) {
    case ChatFamily::kQwen2:
      return "You are a helpful assistant.";
    case ChatFamily::kQwen25:
      return "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
    case ChatFamily::kSmolLm2:
      return "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
    default:
      return "";
  }
}

void OpenTurn(std::string_view role, ChatWriter& writer) {
  writer.Template("<|im_start|>");
  writer.Template(role);
  writer.Template("\n");
}

void RenderTurn(const ChatMessage& message, ChatWriter& writer) {
  OpenTurn(ChatRoleName(message.role), writer);
  writer.Content(message.content);
  writer.Template("<|im_end|>\n");
}

// Outputs of tools are a user's turn; those that follow each other share one.
void RenderToolOutput(ChatMessages messages, size_t index, ChatWriter& writer) {
  const auto is_tool = [messages](size_t i) {
    return i < messages.size() && messages[i].role == ChatRole::kTool;
  };
  if (index == 0 || !is_tool(index - 1)) writer.Template("<|im_start|>user");
  writer.Template("\n<tool_response>\n");
  writer.Content(messages[index].content);
  writer.Template("\n</tool_response>");
  if (!is_tool(index + 1)) writer.Template("<|im_end|>\n");
}

std::string_view StripLeadingNewlines(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view StripTrailingNewlines(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

struct Answer {
  std::string_view reasoning;
  std::string_view content;
};

// Cuts an assistant's message at its thinking block, whichever of its two marks are there.
Answer SplitReasoning(std::string_view content) {
  constexpr std::string_view kOpen = "<think>";
  constexpr std::string_view kClose = "</think>";
  const size_t first_close = content.find(kClose);
  if (first_close == std::string_view::npos) return {"", content};
  std::string_view reasoning = StripTrailingNewlines(content.substr(0, first_close));
  const size_t open = reasoning.rfind(kOpen);
  if (open != std::string_view::npos) reasoning.remove_prefix(open + kOpen.size());
  reasoning = StripTrailingNewlines(StripLeadingNewlines(reasoning));
  return {reasoning, StripLeadingNewlines(content.substr(content.rfind(kClose) + kClose.size()))};
}

// Qwen3 keeps the reasoning of answers after this message alone: the last that a user wrote, and
// not one that holds a tool's output. Without such a message: the last of all.
size_t LastQuery(ChatMessages messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool tool_output =
        content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == ChatRole::kUser && !tool_output) return i;
  }
  return messages.size() - 1;
}

void RenderQwen3Answer(const ChatMessage& message, bool after_query, bool last,
                       ChatWriter& writer) {
  const Answer answer = SplitReasoning(message.content);
  OpenTurn("assistant", writer);
  if (after_query && (last || !answer.reasoning.empty())) {
    writer.Template("<think>\n");
    writer.Content(answer.reasoning);
    writer.Template("\n</think>\n\n");
    writer.Content(StripLeadingNewlines(answer.content));
  } else {
    writer.Content(answer.content);
  }
  writer.Template("<|im_end|>\n");
}

}  // namespace

void RenderChatMl(ChatFamily family, ChatMessages messages, const ChatOptions& options,
                  ChatWriter& writer) {
  const std::string_view default_system = DefaultSystem(family);
  if (!default_system.empty() && messages.front().role != ChatRole::kSystem) {
    OpenTurn("system", writer);
    writer.Template(default_system);
    writer.Template("<|im_end|>\n");
  }
  const bool thinks = family == ChatFamily::kQwen3;
  const size_t last_query = thinks ? LastQuery(messages) : 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == ChatRole::kTool) {
      RenderToolOutput(messages, i, writer);
    } else if (thinks && messages[i].role == ChatRole::kAssistant) {
      RenderQwen3Answer(messages[i], i > last_query, i + 1 == messages.size(), writer);
    } else {
      RenderTurn(messages[i], writer);
    }
  }
  if (!options.add_generation_prompt) return;
  OpenTurn("assistant", writer);
  if (!options.enable_thinking.value_or(true)) writer.Template("<think>\n\n</think>\n\n");
}

}  // namespace quire
