#include "server/log/log_line.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::server {
namespace {

using Json = nlohmann::ordered_json;

const char* LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "";
}

std::string Dump(const Json& json) {
  return json.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

Json ValueOf(const LogField& field) {
  return std::visit([](const auto& value) { return Json(value); }, field.value);
}

std::string TextLine(std::string_view message, const LogFields& fields) {
  std::string line =
      absl::StrCat("quire-server: ", absl::string_view(message.data(), message.size()));
  for (const LogField& field : fields) {
    absl::StrAppend(&line, " ", field.name, "=", Dump(ValueOf(field)));
  }
  return line;
}

std::string JsonLine(absl::Time time, LogLevel level, std::string_view message,
                     const LogFields& fields) {
  Json line;
  line["ts"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
  line["level"] = LevelName(level);
  line["msg"] = message;
  for (const LogField& field : fields) line[field.name] = ValueOf(field);
  return Dump(line);
}

}  // namespace

std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level,
                          std::string_view message, const LogFields& fields) {
  std::string line = format == LogFormat::kText ? TextLine(message, fields)
                                                : JsonLine(time, level, message, fields);
  line += '\n';
  return line;
}

}  // namespace quire::server
