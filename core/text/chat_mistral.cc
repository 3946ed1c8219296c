#include "core/base/check.h"
#include "core/text/chat_renderers.h"

namespace quire {
namespace {

enum class SystemPlace { kNone, kFirstUserTurn, kLastTurn, kOwnTurn };

// All that the published Mistral templates differ in; every space counts.
struct Style {
  std::string_view user_open;
  std::string_view user_close;
  std::string_view answer_open;
  bool strip_answer;
  SystemPlace system;
};

Style StyleOf(ChatFamily family) {
  switch (family) {
    case ChatFamily::kMistralLegacy:
      return {"[INST] ", " [/INST]", "", false, SystemPlace::kNone};
    case ChatFamily::kMistralV1:
      return {" [INST] ", " [/INST]", " ", false, SystemPlace::kFirstUserTurn};
    case ChatFamily::kMistralV3:
      return {"[INST] ", "[/INST]", " ", true, SystemPlace::kLastTurn};
    case ChatFamily::kMistralV3Tekken:
      return {"[INST]", "[/INST]", "", false, SystemPlace::kLastTurn};
    case ChatFamily::kMistralV7:
      return {"[INST] ", "[/INST]", " ", false, SystemPlace::kOwnTurn};
    default:
      QUIRE_CHECK(false) << "not a Mistral family";
      return {};
  }
}

void RenderAnswer(const Style& style, std::string_view content, ChatWriter& writer) {
  writer.Template(style.answer_open);
  writer.Content(style.strip_answer ? StripWhitespace(content) : content);
  writer.Template("</s>");
}

void RenderUser(const Style& style, const ChatMessage* system, std::string_view content,
                ChatWriter& writer) {
  writer.Template(style.user_open);
  if (system != nullptr) {
    writer.Content(system->content);
    writer.Template("\n\n");
  }
  writer.Content(content);
  writer.Template(style.user_close);
}

void RenderSystem(std::string_view content, ChatWriter& writer) {
  writer.Template("[SYSTEM_PROMPT] ");
  writer.Content(content);
  writer.Template("[/SYSTEM_PROMPT]");
}

}  // namespace

void RenderMistral(ChatFamily family, ChatMessages messages, ChatWriter& writer) {
  const Style style = StyleOf(family);
  const bool own_turn = style.system == SystemPlace::kOwnTurn;
  const auto [system, turns] = own_turn ? SplitMessages{nullptr, messages} : SplitSystem(messages);
  const ChatMessage& host = style.system == SystemPlace::kLastTurn ? turns.back() : turns.front();
  writer.Template("<s>");
  for (const ChatMessage& message : turns) {
    if (message.role == ChatRole::kAssistant) {
      RenderAnswer(style, message.content, writer);
    } else if (message.role == ChatRole::kSystem) {
      RenderSystem(message.content, writer);
    } else {
      RenderUser(style, &message == &host ? system : nullptr, message.content, writer);
    }
  }
}

}  // namespace quire
