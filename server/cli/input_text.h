#pragma once

#include <optional>
#include <string>

namespace quire::cli {

// `text` where it is given, else all of standard input, less one trailing newline: the one that
// echo and editors add.
std::string TextOrStandardInput(const std::optional<std::string>& text);

}  // namespace quire::cli
