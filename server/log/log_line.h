#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"

namespace quire::server {

enum class LogFormat : uint8_t { kText, kJson };
enum class LogLevel : uint8_t { kInfo, kWarning, kError };
inline constexpr size_t kNumLogLevels = 3;

// A fact beside a line's message, under a name of ours.
struct LogField {
  const char* name = nullptr;
  std::variant<std::string, int64_t, double> value;
};
using LogFields = std::vector<LogField>;

// One line with its end, whatever the texts contain.
//   text  quire-server: MESSAGE NAME="text" NAME=1.5
//   JSON  {"ts":"2026-01-31T23:59:59.123Z","level":"info","msg":"MESSAGE","NAME":"text","NAME":1.5}
// In both, texts of fields are JSON strings in ASCII; bytes that are no UTF-8 are replaced.
std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level,
                          std::string_view message, const LogFields& fields);

}  // namespace quire::server
