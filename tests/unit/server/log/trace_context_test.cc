#include "server/log/trace_context.h"

#include <gtest/gtest.h>

#include <string>

namespace quire::server {
namespace {

constexpr char kId[] = "4bf92f3577b34da6a3ce929d0e0e4736";

std::string Header(const std::string& version = "00", const std::string& id = kId,
                   const std::string& parent = "00f067aa0ba902b7",
                   const std::string& flags = "01") {
  return version + "-" + id + "-" + parent + "-" + flags;
}

TEST(TraceContextTest, TheTraceIdOfAWellFormedHeader) {
  const std::string header = Header();
  EXPECT_EQ(TraceIdOf(header), kId);
  const std::string later = Header("cc") + "-what-comes-later";
  EXPECT_EQ(TraceIdOf(later), kId);
  const std::string later_alone = Header("01");
  EXPECT_EQ(TraceIdOf(later_alone), kId);
}

TEST(TraceContextTest, NothingOfAnyOther) {
  const std::string headers[] = {
      "",
      kId,
      Header("ff"),
      Header("0g"),
      Header("00", std::string(32, '0')),
      Header("00", "4BF92F3577B34DA6A3CE929D0E0E4736"),
      Header("00", "4bf92f3577b34da6a3ce929d0e0e473\n"),
      Header("00", kId, std::string(16, '0')),
      Header("00", kId, "00f067aa0ba902bx"),
      Header("00", kId, "00f067aa0ba902b7", "0x"),
      Header() + "-more",
      Header() + "0",
      Header("cc") + "0",
      Header().substr(0, 54),
      "00_" + Header().substr(3),
      Header().substr(0, 35) + "_" + Header().substr(36),
      Header().substr(0, 52) + "_" + Header().substr(53),
  };
  for (const std::string& header : headers) EXPECT_EQ(TraceIdOf(header), std::nullopt) << header;
}

}  // namespace
}  // namespace quire::server
