#pragma once

#include "absl/status/status.h"
#include "core/text/chat_renderers.h"

namespace quire {

// Checks the order and the roles of a conversation: what the family's template raises for and,
// beyond it, what the template would drop or print under a wrong role.
absl::Status CheckConversation(ChatFamily family, ChatMessages messages);

// Checks that the family has what the options ask for and that the options go together.
absl::Status CheckChatOptions(ChatFamily family, ChatMessages messages, const ChatOptions& options);

}  // namespace quire
