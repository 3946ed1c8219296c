#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/chat_family.h"

namespace quire {

enum class ChatRole { kSystem, kUser, kAssistant, kTool };

// "system", "user", "assistant", "tool"; "ipython" is Llama's word for the last.
absl::StatusOr<ChatRole> ParseChatRole(std::string_view name);
std::string_view ChatRoleName(ChatRole role);

struct ChatMessage {
  ChatRole role = ChatRole::kUser;
  std::string content;  // UTF-8; may be empty
};

struct ChatOptions {
  // Ends with the opening of the assistant's turn, where the family has one.
  bool add_generation_prompt = true;
  // Leaves the last message, an assistant's, open for the model to go on with.
  bool continue_final_message = false;
  // Qwen3: false closes the thinking block before the answer. Refused where there is no such
  // switch.
  std::optional<bool> enable_thinking = std::nullopt;
  // "26 Jul 2024": today for Llama 3.1 to 3.3, ignored by the others. Never read from a clock, so
  // equal requests give equal prompts; empty is the date that Meta's templates fall back to.
  std::string date = {};
};

struct ChatLimits {
  size_t max_messages = 4096;
  size_t max_content_bytes = size_t{16} << 20;  // of all messages together
};

// A piece of a rendered prompt. Names of special tokens stand for these tokens only in template
// text; in content they are ordinary text, or a user could forge turns. No piece is empty and no
// two neighbours are of one kind.
struct ChatSegment {
  std::string text;
  bool is_template = false;

  bool operator==(const ChatSegment&) const = default;
};

// The prompt for `messages`, with its beginning-of-text token: the texts together are what
// transformers' apply_chat_template gives. Pure function. InvalidArgument where the family's own
// template raises, where it would drop or mislabel a message, for what it has no place for, for
// ill-formed UTF-8 and beyond `limits`. core/text/chat_rules.cc has the rules of each family.
absl::StatusOr<std::vector<ChatSegment>> RenderChat(ChatFamily family,
                                                    std::span<const ChatMessage> messages,
                                                    const ChatOptions& options,
                                                    const ChatLimits& limits = {});

}  // namespace quire
