#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/text/chat_detection.h"
#include "core/text/tokenizer.h"

namespace quire {

// The tokenizer of a model directory or a GGUF file. Beside a GGUF file a tokenizer.json or
// tokenizer.model counts; without one, what the file itself holds. Errors as LoadTokenizer.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadModelTokenizer(const std::string& model);

// What the model's files say about its chat format, from the same places.
absl::StatusOr<ChatMetadata> LoadChatMetadata(const std::string& model);

}  // namespace quire
