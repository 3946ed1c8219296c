#include "server/cli/text_format.h"

#include <algorithm>
#include <cstddef>
#include <iomanip>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/text/utf8.h"

namespace quire::cli {
namespace {

// Three significant digits, without a fraction where there is none.
std::string ThreeDigits(double value) {
  const int digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  std::string text = absl::StrFormat("%.*f", digits, value);
  if (digits > 0) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

std::string WithUnit(int64_t value, double step, std::span<const char* const> units) {
  auto scaled = static_cast<double>(value);
  size_t unit = 0;
  while (scaled >= step && unit + 1 < units.size()) {
    scaled /= step;
    ++unit;
  }
  if (unit == 0) return absl::StrCat(value, units[0]);
  return absl::StrCat(ThreeDigits(scaled), units[unit]);
}

bool IsPrintable(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; }

}  // namespace

std::string FormatBytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB"};
  return WithUnit(bytes, 1024, kUnits);
}

std::string FormatCount(int64_t count) {
  static constexpr const char* kUnits[] = {"", " K", " M", " B", " T"};
  return WithUnit(count, 1000, kUnits);
}

std::string Quote(std::string_view text) {
  const bool is_utf8 = IsValidUtf8(text);
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (IsPrintable(c) && (is_utf8 || static_cast<unsigned char>(c) < 0x80)) {
      quoted += c;
    } else {
      absl::StrAppendFormat(&quoted, "\\x%02x", static_cast<unsigned>(static_cast<uint8_t>(c)));
    }
  }
  return quoted + '"';
}

void TextTable::Print(std::ostream& out) const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      out << (i == 0 ? std::left : std::right) << std::setw(static_cast<int>(widths[i])) << row[i]
          << (i + 1 < row.size() ? "  " : "\n");
    }
  }
}

}  // namespace quire::cli
