#pragma once

#include <string_view>
#include <vector>

#include "core/text/chat_template.h"

namespace quire {

// Collects the segments of one prompt. Not for sharing between threads.
class ChatWriter {
 public:
  void Template(std::string_view text) { Append(text, true); }
  void Content(std::string_view text) { Append(text, false); }

  // Removes template text from the end, so that the last content is left open.
  void DropTrailingTemplate();

  std::vector<ChatSegment> Take() && { return std::move(segments_); }

 private:
  void Append(std::string_view text, bool is_template);

  std::vector<ChatSegment> segments_;
};

// Without white space at both ends, by the rule of Python's str.strip(), which the families'
// templates call: Unicode's White_Space and U+001C to U+001F.
std::string_view StripWhitespace(std::string_view text);
std::string_view StripLeadingWhitespace(std::string_view text);
std::string_view StripTrailingWhitespace(std::string_view text);

}  // namespace quire
