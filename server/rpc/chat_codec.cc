#include "server/rpc/chat_codec.h"

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/text/chat_encoder.h"
#include "core/text/chat_template.h"

namespace quire::server {
namespace {

absl::StatusOr<std::vector<TokenId>> Encode(const v1::ChatPrompt& message, ChatFamily family,
                                            const Tokenizer& tokenizer, size_t max_bytes) {
  std::vector<ChatMessage> messages;
  messages.reserve(static_cast<size_t>(message.messages_size()));
  for (const v1::ChatMessage& turn : message.messages()) {
    ChatMessage& entry = messages.emplace_back();
    QUIRE_ASSIGN_OR_RETURN(entry.role, ParseChatRole(turn.role()));
    entry.content = turn.content();
  }
  ChatOptions options;
  options.continue_final_message = message.continue_final_message();
  options.add_generation_prompt = message.has_add_generation_prompt()
                                      ? message.add_generation_prompt()
                                      : !options.continue_final_message;
  if (message.has_enable_thinking()) options.enable_thinking = message.enable_thinking();
  options.date = message.date();
  const ChatLimits limits{.max_content_bytes = max_bytes};
  QUIRE_ASSIGN_OR_RETURN(const std::vector<ChatSegment> segments,
                         RenderChat(family, messages, options, limits));
  return EncodeChat(tokenizer, segments);
}

}  // namespace

absl::StatusOr<std::vector<TokenId>> DecodeChat(const v1::ChatPrompt& message,
                                                const ChatFormat& format,
                                                const Tokenizer& tokenizer, size_t max_bytes) {
  if (!format.family.has_value()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, absl::StrCat("chat: ", format.why_none),
                  {.reason = "NO_CHAT_FORMAT"});
  }
  absl::StatusOr<std::vector<TokenId>> ids = Encode(message, *format.family, tokenizer, max_bytes);
  if (!absl::IsInvalidArgument(ids.status())) return ids;
  return Refuse(ids.status().code(), ids.status().message(),
                {.reason = "INVALID_FIELD", .field = "chat"});
}

}  // namespace quire::server
