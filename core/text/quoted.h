#pragma once

#include <string>
#include <string_view>

namespace quire {

// `text` in quotes for an error message: control characters escaped, cut after 64 bytes.
std::string Quoted(std::string_view text);

}  // namespace quire
