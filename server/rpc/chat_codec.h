#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/model_tokenizer.h"
#include "core/text/tokenizer.h"
#include "quire/v1/inference.pb.h"

namespace quire::server {

// The token ids of a conversation. FailedPrecondition without a family; else errors as RenderChat
// and Tokenizer::Encode. `max_bytes` bounds all contents together.
absl::StatusOr<std::vector<TokenId>> DecodeChat(const v1::ChatPrompt& message,
                                                const ChatFormat& format,
                                                const Tokenizer& tokenizer, size_t max_bytes);

}  // namespace quire::server
