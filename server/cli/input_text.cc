#include "server/cli/input_text.h"

#include <iostream>
#include <iterator>

namespace quire::cli {

std::string TextOrStandardInput(const std::optional<std::string>& text) {
  if (text.has_value()) return *text;
  std::string input(std::istreambuf_iterator<char>(std::cin), {});
  if (!input.empty() && input.back() == '\n') input.pop_back();
  return input;
}

}  // namespace quire::cli
