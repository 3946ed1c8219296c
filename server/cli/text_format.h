#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace quire::cli {

// 131072 -> "128 KiB", 1500 -> "1.46 KiB", 100 -> "100 B".
std::string FormatBytes(int64_t bytes);

// 8030261248 -> "8.03 B", 12400 -> "12.4 K", 999 -> "999".
std::string FormatCount(int64_t count);

// `text` in double quotes on one line: control characters and bytes that are not UTF-8 as \n, \t or
// \xNN, so that what a terminal shows can be told apart.
std::string Quote(std::string_view text);

// Rows of cells in aligned columns: the first to the left, the others to the right. Counts bytes,
// so cells should be ASCII.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

  void AddRow(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace quire::cli
