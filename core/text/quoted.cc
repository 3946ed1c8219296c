#include "core/text/quoted.h"

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/text/utf8.h"

namespace quire {

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 64;
  const std::string_view head = text.substr(0, kShown);
  const std::string shown(head.substr(0, CompletePrefixLength(head)));
  return absl::StrCat("\"", absl::Utf8SafeCEscape(shown), text.size() > kShown ? "...\"" : "\"");
}

}  // namespace quire
