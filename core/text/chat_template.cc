#include "core/text/chat_template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/chat_renderers.h"
#include "core/text/chat_rules.h"
#include "core/text/chat_writer.h"
#include "core/text/quoted.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

struct RoleName {
  std::string_view name;
  ChatRole role;
};

// The first name of a role is the one that templates print.
constexpr RoleName kRoleNames[] = {
    {"system", ChatRole::kSystem},       {"user", ChatRole::kUser},
    {"assistant", ChatRole::kAssistant}, {"tool", ChatRole::kTool},
    {"ipython", ChatRole::kTool},
};

absl::Status CheckContents(ChatMessages messages, const ChatLimits& limits) {
  if (messages.size() > limits.max_messages) {
    return absl::InvalidArgumentError(absl::StrCat(
        "messages: there are ", messages.size(), ", more than the limit of ", limits.max_messages));
  }
  size_t bytes_left = limits.max_content_bytes;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& content = messages[i].content;
    if (content.size() > bytes_left) {
      return absl::InvalidArgumentError(
          absl::StrCat("messages[", i, "]: the contents together are longer than the limit of ",
                       limits.max_content_bytes, " bytes"));
    }
    bytes_left -= content.size();
    if (IsValidUtf8(content)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("messages[", i, "]: content is not well-formed UTF-8"));
  }
  return absl::OkStatus();
}

void Render(ChatFamily family, ChatMessages messages, const ChatOptions& options,
            ChatWriter& writer) {
  switch (family) {
    case ChatFamily::kGemma:
    case ChatFamily::kGemma3:
      return RenderGemma(messages, options, writer);
    case ChatFamily::kLlama2:
      return RenderLlama2(messages, options, writer);
    case ChatFamily::kLlama3:
      return RenderLlama3(messages, options, writer);
    case ChatFamily::kLlama31:
      return RenderLlama31(messages, options, writer);
    case ChatFamily::kMistralLegacy:
    case ChatFamily::kMistralV1:
    case ChatFamily::kMistralV3:
    case ChatFamily::kMistralV3Tekken:
    case ChatFamily::kMistralV7:
      return RenderMistral(family, messages, writer);
    case ChatFamily::kPhi3:
    case ChatFamily::kPhi3Medium:
    case ChatFamily::kPhi35:
      return RenderPhi3(family, messages, options, writer);
    case ChatFamily::kChatMl:
    case ChatFamily::kQwen2:
    case ChatFamily::kQwen25:
    case ChatFamily::kQwen3:
    case ChatFamily::kQwen3Instruct:
    case ChatFamily::kSmolLm2:
      return RenderChatMl(family, messages, options, writer);
  }
}

}  // namespace

absl::StatusOr<ChatRole> ParseChatRole(std::string_view name) {
  for (const RoleName& known : kRoleNames) {
    if (known.name == name) return known.role;
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no role ", Quoted(name),
                                                 "; there are: system, user, assistant, tool"));
}

std::string_view ChatRoleName(ChatRole role) { return kRoleNames[static_cast<size_t>(role)].name; }

absl::StatusOr<std::vector<ChatSegment>> RenderChat(ChatFamily family,
                                                    std::span<const ChatMessage> messages,
                                                    const ChatOptions& options,
                                                    const ChatLimits& limits) {
  QUIRE_RETURN_IF_ERROR(CheckContents(messages, limits));
  QUIRE_RETURN_IF_ERROR(CheckConversation(family, messages));
  QUIRE_RETURN_IF_ERROR(CheckChatOptions(family, messages, options));
  ChatWriter writer;
  Render(family, messages, options, writer);
  if (options.continue_final_message) writer.DropTrailingTemplate();
  return std::move(writer).Take();
}

}  // namespace quire
