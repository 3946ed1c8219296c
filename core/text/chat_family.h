#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/tokenizer.h"

namespace quire {

// The chat formats that Quire renders. One family is one published template; what differs from it
// in a single space is another family. Gemma is Gemma 1 and 2, Llama31 is Llama 3.1 to 3.3, ChatMl
// is the bare form without a default system message (SmolLM 1 and many fine-tuned models).
enum class ChatFamily {
  kChatMl,
  kGemma,
  kGemma3,
  kLlama2,
  kLlama3,
  kLlama31,
  kMistralLegacy,  // 7B v0.1/v0.2 and Mixtral as first published: no system message
  kMistralV1,      // the same models' later template
  kMistralV3,
  kMistralV3Tekken,
  kMistralV7,
  kPhi3,
  kPhi3Medium,
  kPhi35,
  kQwen2,
  kQwen25,
  kQwen3,
  kQwen3Instruct,  // Qwen3-Instruct-2507: no thinking
  kSmolLm2,
};

std::span<const ChatFamily> AllChatFamilies();

// The name that flags and messages use, such as "llama3.1".
std::string_view ChatFamilyName(ChatFamily family);

// All names, sorted, with commas.
std::string ChatFamilyNames();

// InvalidArgument with the list of names.
absl::StatusOr<ChatFamily> ParseChatFamily(std::string_view name);

// The family's control strings that have to be one special token each.
std::span<const std::string_view> ChatMarks(ChatFamily family);

// FailedPrecondition where the tokenizer lacks one of ChatMarks: the model is of another family.
// Also where it has one that is not special, since a user's text would be read as a turn.
absl::Status CheckChatMarks(ChatFamily family, const Tokenizer& tokenizer);

}  // namespace quire
