#include "core/text/chat_renderers.h"

namespace quire {
namespace {

void RenderTurn(std::string_view opening, std::string_view content, ChatWriter& writer) {
  writer.Template(opening);
  writer.Content(content);
  writer.Template("<|end|>\n");
}

// Opens the assistant's turn after every user message, whether an answer follows or not.
void RenderPhi3Medium(ChatMessages messages, ChatWriter& writer) {
  for (const ChatMessage& message : messages) {
    const bool user = message.role == ChatRole::kUser;
    RenderTurn(user ? "<|user|>\n" : "", message.content, writer);
    if (user) writer.Template("<|assistant|>\n");
  }
}

std::string_view Opening(ChatRole role) {
  if (role == ChatRole::kSystem) return "<|system|>\n";
  return role == ChatRole::kUser ? "<|user|>\n" : "<|assistant|>\n";
}

}  // namespace

void RenderPhi3(ChatFamily family, ChatMessages messages, const ChatOptions& options,
                ChatWriter& writer) {
  if (family == ChatFamily::kPhi3Medium) return RenderPhi3Medium(messages, writer);
  for (const ChatMessage& message : messages) {
    const bool empty_system = message.role == ChatRole::kSystem && message.content.empty();
    if (empty_system && family == ChatFamily::kPhi35) continue;
    RenderTurn(Opening(message.role), message.content, writer);
  }
  writer.Template(options.add_generation_prompt ? "<|assistant|>\n" : "<|endoftext|>");
}

}  // namespace quire
