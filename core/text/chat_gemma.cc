#include "core/text/chat_renderers.h"

namespace quire {

// Gemma 3 puts the system message, as it is, before the first user message; Gemma 1 and 2 have
// none.
void RenderGemma(ChatMessages messages, const ChatOptions& options, ChatWriter& writer) {
  const auto [system, turns] = SplitSystem(messages);
  writer.Template("<bos>");
  for (const ChatMessage& message : turns) {
    const bool answer = message.role == ChatRole::kAssistant;
    writer.Template(answer ? "<start_of_turn>model\n" : "<start_of_turn>user\n");
    if (system != nullptr && &message == &turns.front()) {
      writer.Content(system->content);
      writer.Template("\n\n");
    }
    writer.Content(StripWhitespace(message.content));
    writer.Template("<end_of_turn>\n");
  }
  if (options.add_generation_prompt) writer.Template("<start_of_turn>model\n");
}

}  // namespace quire
