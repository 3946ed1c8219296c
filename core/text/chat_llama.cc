#include <nlohmann/json.hpp>
#include <string>

#include "core/text/chat_renderers.h"

namespace quire {
namespace {

constexpr std::string_view kFallbackDate = "26 Jul 2024";

void OpenTurn(std::string_view role, ChatWriter& writer) {
  writer.Template("<|start_header_id|>");
  writer.Template(role);
  writer.Template("<|end_header_id|>\n\n");
}

void RenderTurn(std::string_view role, std::string_view content, ChatWriter& writer) {
  OpenTurn(role, writer);
  writer.Content(content);
  writer.Template("<|eot_id|>");
}

// Llama 3.1's template prints a tool's output as a JSON value, a string in quotes.
std::string AsJson(const std::string& content) { return nlohmann::json(content).dump(); }

// The system message stands before the first user message in the same turn, and what is stripped
// is both together: a blank message takes the line breaks after the system message with it.
void RenderLlama2User(const ChatMessage* system, std::string_view content, ChatWriter& writer) {
  writer.Template("<s>[INST] ");
  if (system == nullptr) {
    writer.Content(StripWhitespace(content));
  } else {
    writer.Template("<<SYS>>\n");
    writer.Content(system->content);
    content = StripTrailingWhitespace(content);
    writer.Template(content.empty() ? "\n<</SYS>>" : "\n<</SYS>>\n\n");
    writer.Content(content);
  }
  writer.Template(" [/INST]");
}

}  // namespace

// A message to be continued keeps the white space at its end, as it does in apply_chat_template.
void RenderLlama2(ChatMessages messages, const ChatOptions& options, ChatWriter& writer) {
  auto [system, turns] = SplitSystem(messages);
  for (const ChatMessage& message : turns) {
    if (message.role == ChatRole::kUser) {
      RenderLlama2User(system, message.content, writer);
      system = nullptr;
      continue;
    }
    const bool continued = options.continue_final_message && &message == &turns.back();
    writer.Template(" ");
    writer.Content(continued ? StripLeadingWhitespace(message.content)
                             : StripWhitespace(message.content));
    writer.Template(" </s>");
  }
}

void RenderLlama3(ChatMessages messages, const ChatOptions& options, ChatWriter& writer) {
  writer.Template("<|begin_of_text|>");
  for (const ChatMessage& message : messages) {
    RenderTurn(ChatRoleName(message.role), StripWhitespace(message.content), writer);
  }
  if (options.add_generation_prompt) OpenTurn("assistant", writer);
}

void RenderLlama31(ChatMessages messages, const ChatOptions& options, ChatWriter& writer) {
  const auto [system, turns] = SplitSystem(messages);
  writer.Template("<|begin_of_text|>");
  OpenTurn("system", writer);
  writer.Template("Cutting Knowledge Date: December 2023\nToday Date: ");
  writer.Template(options.date.empty() ? kFallbackDate : std::string_view(options.date));
  writer.Template("\n\n");
  if (system != nullptr) writer.Content(StripWhitespace(system->content));
  writer.Template("<|eot_id|>");
  for (const ChatMessage& message : turns) {
    if (message.role == ChatRole::kTool) {
      RenderTurn("ipython", AsJson(message.content), writer);
    } else {
      RenderTurn(ChatRoleName(message.role), StripWhitespace(message.content), writer);
    }
  }
  if (options.add_generation_prompt) OpenTurn("assistant", writer);
}

}  // namespace quire
