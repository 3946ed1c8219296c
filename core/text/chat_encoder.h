#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/text/chat_template.h"
#include "core/text/tokenizer.h"

namespace quire {

// The token ids of a rendered conversation: those of its texts together, with nothing added, except
// that what users wrote never becomes a special token. Errors as Tokenizer::Encode.
absl::StatusOr<std::vector<TokenId>> EncodeChat(const Tokenizer& tokenizer,
                                                std::span<const ChatSegment> segments);

}  // namespace quire
