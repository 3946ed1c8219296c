#include "server/listen_address.h"

#include <gtest/gtest.h>

namespace quire::server {
namespace {

TEST(ListenAddressTest, ReadsLiteralAddressesAndKnowsLoopback) {
  struct Case {
    const char* text;
    const char* host;
    int port;
    bool loopback;
  };
  for (const Case& c :
       {Case{"127.0.0.1:50051", "127.0.0.1", 50051, true},
        Case{"127.9.9.9:0", "127.9.9.9", 0, true}, Case{"localhost:1", "127.0.0.1", 1, true},
        Case{"[::1]:65535", "::1", 65535, true}, Case{"0.0.0.0:80", "0.0.0.0", 80, false},
        Case{"[::]:80", "::", 80, false},
        Case{"[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, false},
        Case{"10.1.2.3:80", "10.1.2.3", 80, false}}) {
    const absl::StatusOr<ListenAddress> address = ParseListenAddress(c.text);
    ASSERT_TRUE(address.ok()) << c.text << ": " << address.status();
    EXPECT_EQ(address->host, c.host);
    EXPECT_EQ(address->port, c.port);
    EXPECT_EQ(address->IsLoopback(), c.loopback) << c.text;
  }
}

TEST(ListenAddressTest, ItsTextCanBeReadAgain) {
  for (const char* text : {"127.0.0.1:50051", "[::1]:1", "0.0.0.0:0"}) {
    EXPECT_EQ(ParseListenAddress(text)->ToString(), text);
  }
}

TEST(ListenAddressTest, RefusesEverythingElse) {
  for (const char* text :
       {"", ":", "50051", ":50051", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1",
        "127.0.0.1:65536", "127.0.0.1:1 ", "127.0.0:1", "::1:80", "[127.0.0.1]:1", "[localhost]:1",
        "example.com:80", "[::1:80", "unix:/tmp/x"}) {
    EXPECT_EQ(ParseListenAddress(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace quire::server
