#pragma once

#include <span>
#include <string_view>

#include "core/text/chat_family.h"

namespace quire {

// How a family's template is told from others, with ' for every quote and line breaks in strings
// unescaped. The control strings tell the group, the phrases tell its members.
struct ChatFingerprint {
  ChatFamily family;
  std::span<const std::string_view> marks;  // all control strings that may occur
  std::span<const std::string_view> required;
  std::span<const std::string_view> forbidden;
  std::string_view bos_token;  // empty: the template prints none
  std::string_view eos_token;
};

std::span<const ChatFingerprint> ChatFingerprints();

}  // namespace quire
