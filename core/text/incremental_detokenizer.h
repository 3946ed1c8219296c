#pragma once

#include <cstddef>
#include <string>

#include "core/base/ids.h"
#include "core/text/tokenizer.h"

namespace quire {

// Turns the tokens of one stream into text as they come. What TakeText and Finish return is always
// well-formed UTF-8. At kTextStart all of it together is the Decode of all tokens, special ones
// skipped, less what Finish trims; a continuation keeps a leading space that Decode would drop.
// Keeps only bytes not yet returned, so hold_back_bytes bounds its memory. One thread at a time;
// the tokenizer must outlive it.
class IncrementalDetokenizer {
 public:
  enum class Position { kTextStart, kContinuation };

  explicit IncrementalDetokenizer(const Tokenizer& tokenizer,
                                  Position position = Position::kContinuation)
      : tokenizer_(tokenizer), start_{.is_over = position == Position::kContinuation} {}

  void Append(TokenId id);

  // The text that may be shown: not the last `hold_back_bytes` raw bytes, which might begin a stop
  // string, and not a code point whose end has not come yet.
  std::string TakeText(size_t hold_back_bytes);

  // The rest, without the last `trim_bytes` of TokenBytes: a stop string and what follows it. They
  // must have been held back until now.
  std::string Finish(size_t trim_bytes);

 private:
  const Tokenizer& tokenizer_;
  Tokenizer::TextStart start_;
  size_t dropped_ = 0;  // bytes that the text's start lost, all before those in pending_
  std::string pending_;
};

}  // namespace quire
