#include "core/text/chat_encoder.h"

#include <string>

namespace quire {

absl::StatusOr<std::vector<TokenId>> EncodeChat(const Tokenizer& tokenizer,
                                                std::span<const ChatSegment> segments) {
  // In one piece, since merges cross the seams.
  std::string text;
  std::vector<Tokenizer::ByteRange> literal;
  for (const ChatSegment& segment : segments) {
    const size_t begin = text.size();
    text += segment.text;
    if (!segment.is_template && !segment.text.empty()) literal.push_back({begin, text.size()});
  }
  return tokenizer.Encode(text,
                          {.add_special_tokens = false, .parse_special = true, .literal = literal});
}

}  // namespace quire
