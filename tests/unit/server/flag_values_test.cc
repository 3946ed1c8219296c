#include "server/flag_values.h"

#include <gtest/gtest.h>

namespace quire::server {
namespace {

TEST(ParseBytesTest, ReadsDigitsAndBinarySuffixes) {
  const std::pair<const char*, int64_t> cases[] = {{"0", 0},
                                                   {"17", 17},
                                                   {"1K", 1024},
                                                   {"512M", int64_t{512} << 20},
                                                   {"3G", int64_t{3} << 30},
                                                   {"2T", int64_t{2} << 40},
                                                   {"9223372036854775807", INT64_MAX}};
  for (const auto& [text, bytes] : cases) {
    ASSERT_TRUE(ParseBytes(text).ok()) << text;
    EXPECT_EQ(*ParseBytes(text), bytes) << text;
  }
}

TEST(ParseBytesTest, RefusesEverythingElse) {
  for (const char* text : {"", "K", "-1", "1k", "1KB", "1 K", "1.5G", "0x10", "8388608T",
                           "9223372036854775808", "auto", "1P"}) {
    EXPECT_EQ(ParseBytes(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(ParseDurationTest, ReadsUnitsAndSumsOfThem) {
  EXPECT_EQ(*ParseDuration("0"), Duration::zero());
  EXPECT_EQ(*ParseDuration("30s"), std::chrono::seconds(30));
  EXPECT_EQ(*ParseDuration("1m30s"), std::chrono::seconds(90));
  EXPECT_EQ(*ParseDuration("250ms"), std::chrono::milliseconds(250));
}

TEST(ParseDurationTest, RefusesEverythingElse) {
  for (const char* text : {"", "30", "-1s", "s", "1d", "inf", "1000000h", "30 s"}) {
    EXPECT_EQ(ParseDuration(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace quire::server
