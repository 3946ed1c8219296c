#include "server/log/log_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace quire::server {
namespace {

using ::testing::HasSubstr;

std::string Line(LogFormat format, std::string_view message, const LogFields& fields = {}) {
  const absl::Time time = absl::FromUnixMillis(1769903999007);
  return FormatLogLine(format, time, LogLevel::kWarning, message, fields);
}

TEST(LogLineTest, TextIsTheMessageAndItsFields) {
  EXPECT_EQ(Line(LogFormat::kText, "listening on 127.0.0.1:1"),
            "quire-server: listening on 127.0.0.1:1\n");
  EXPECT_EQ(Line(LogFormat::kText, "m", {{"a", int64_t{-5}}, {"b", 1.25}, {"c", "x y"}}),
            "quire-server: m a=-5 b=1.25 c=\"x y\"\n");
}

TEST(LogLineTest, JsonIsOneObjectInOrder) {
  EXPECT_EQ(Line(LogFormat::kJson, "m", {{"a", int64_t{-5}}, {"b", 1.25}, {"c", "x y"}}),
            "{\"ts\":\"2026-01-31T23:59:59.007Z\",\"level\":\"warning\",\"msg\":\"m\",\"a\":-5,"
            "\"b\":1.25,\"c\":\"x y\"}\n");
}

TEST(LogLineTest, NoTextLeavesItsField) {
  const std::string hostile = "a\"b\\c\n{\"level\":\"error\"}\x01\xff\xe2\x82\xac\x1b[31m";
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const std::string line = Line(format, "m", {{"id", hostile}});
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    for (const char c : line.substr(0, line.size() - 1)) EXPECT_TRUE(c >= ' ' && c <= '~') << line;
    EXPECT_THAT(line, HasSubstr(R"("a\"b\\c\n{\"level\":\"error\"}\u0001\ufffd\u20ac\u001b[31m")"));
  }
}

TEST(LogLineTest, AMessageOfSeveralLinesIsOneLineOfJson) {
  const std::string line = Line(LogFormat::kJson, "a\nb\xff");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_EQ(nlohmann::json::parse(line)["msg"], "a\nb\xef\xbf\xbd");
}

}  // namespace
}  // namespace quire::server
