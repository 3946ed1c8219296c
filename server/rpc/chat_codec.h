#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/chat_template.h"
#include "core/text/tokenizer.h"
#include "quire/v1/inference.pb.h"

namespace quire::server {

// How the served model's conversations are written.
struct ChatFormat {
  std::optional<ChatFamily> family;
  std::string why_none;  // where there is no family: what to tell a caller
};

// The format that a model's own files name, or `family_name` where it is not empty. InvalidArgument
// where that name is unknown or the tokenizer lacks the family's control tokens; a model whose
// files name no known family is no error.
absl::StatusOr<ChatFormat> ChooseChatFormat(const std::string& model_dir,
                                            const std::string& family_name,
                                            const Tokenizer& tokenizer);

// The token ids of a conversation. FailedPrecondition without a family; else errors as RenderChat
// and Tokenizer::Encode. `max_bytes` bounds all contents together.
absl::StatusOr<std::vector<TokenId>> DecodeChat(const v1::ChatPrompt& message,
                                                const ChatFormat& format,
                                                const Tokenizer& tokenizer, size_t max_bytes);

}  // namespace quire::server
