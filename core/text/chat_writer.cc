#include "core/text/chat_writer.h"

#include "core/text/utf8.h"

namespace quire {
namespace {

bool IsSeparator(char c) { return c >= '\x1C' && c <= '\x1F'; }

}  // namespace

void ChatWriter::Append(std::string_view text, bool is_template) {
  if (text.empty()) return;
  if (segments_.empty() || segments_.back().is_template != is_template) {
    segments_.push_back({"", is_template});
  }
  segments_.back().text += text;
}

void ChatWriter::DropTrailingTemplate() {
  if (!segments_.empty() && segments_.back().is_template) segments_.pop_back();
}

std::string_view StripLeadingWhitespace(std::string_view text) {
  while (true) {
    text.remove_prefix(LeadingWhitespaceLength(text));
    if (text.empty() || !IsSeparator(text.front())) return text;
    text.remove_prefix(1);
  }
}

std::string_view StripTrailingWhitespace(std::string_view text) {
  while (true) {
    text.remove_suffix(TrailingWhitespaceLength(text));
    if (text.empty() || !IsSeparator(text.back())) return text;
    text.remove_suffix(1);
  }
}

std::string_view StripWhitespace(std::string_view text) {
  return StripTrailingWhitespace(StripLeadingWhitespace(text));
}

}  // namespace quire
