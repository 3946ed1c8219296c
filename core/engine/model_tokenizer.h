#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/text/chat_family.h"
#include "core/text/tokenizer.h"

namespace quire {

// The tokenizer of a model directory or a GGUF file. Beside a GGUF file a tokenizer.json or
// tokenizer.model counts; without one, what the file itself holds. Errors as LoadTokenizer.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadModelTokenizer(const std::string& model);

// How a model's conversations are written.
struct ChatFormat {
  std::optional<ChatFamily> family;
  std::string why_none;  // where there is no family: what to tell a caller
};

// The format that the model's own files name, from the same places, or `family_name` where it is
// not empty. A model whose files name no known family, or one whose control tokens its tokenizer
// cannot keep apart from text, has none, which is no error. InvalidArgument where `family_name` is
// unknown, FailedPrecondition where it does not fit the tokenizer.
absl::StatusOr<ChatFormat> LoadChatFormat(const std::string& model, const std::string& family_name,
                                          const Tokenizer& tokenizer);

}  // namespace quire
