#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/text/chat_detection.h"

namespace quire {

struct ChatMetadataLimits {
  size_t max_file_bytes = size_t{16} << 20;
};

// Reads what a Hugging Face directory says about its chat format: tokenizer_config.json and, which
// takes precedence, chat_template.jinja. Of several templates the one named "default" counts.
// Absent files and members are empty; InvalidArgument for a malformed or oversized file.
absl::StatusOr<ChatMetadata> ReadChatMetadata(const std::string& model_dir,
                                              const ChatMetadataLimits& limits = {});

// The part that is in tokenizer_config.json.
absl::StatusOr<ChatMetadata> ParseChatMetadata(std::string_view tokenizer_config);

}  // namespace quire
