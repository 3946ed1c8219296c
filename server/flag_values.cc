#include "server/flag_values.h"

#include <charconv>
#include <limits>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace quire::server {
namespace {

std::string Escaped(std::string_view text) {
  return absl::Utf8SafeCHexEscape(absl::string_view(text.data(), text.size()));
}

}  // namespace

absl::StatusOr<int64_t> ParseBytes(std::string_view text) {
  constexpr std::string_view kSuffixes = "KMGT";
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  const size_t power = suffix.empty() ? 0 : kSuffixes.find(suffix.front()) + 1;
  const bool known = suffix.empty() || (suffix.size() == 1 && power > 0);
  if (error != std::errc() || value < 0 || !known ||
      value > std::numeric_limits<int64_t>::max() >> (10 * power)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", Escaped(text),
                     "' is not a number of bytes: digits and at most one of the suffixes K, M, G "
                     "and T, e.g. 512M"));
  }
  return value << (10 * power);
}

absl::StatusOr<Duration> ParseDuration(std::string_view text) {
  absl::Duration value;
  if (!absl::ParseDuration(absl::string_view(text.data(), text.size()), &value) ||
      value < absl::ZeroDuration() || value > absl::Hours(24 * 3650)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", Escaped(text), "' is not a duration of 0 to 10 years, e.g. 30s, 1m30s or 250ms"));
  }
  return std::chrono::duration_cast<Duration>(absl::ToChronoNanoseconds(value));
}

}  // namespace quire::server
