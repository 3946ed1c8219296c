#include "server/metadata_text.h"

#include <gtest/gtest.h>

namespace quire::server {
namespace {

TEST(MetadataTextTest, KeysAreThoseThatGrpcLeavesToApplications) {
  for (const char* key : {"x-quire-tenant", "t", "a_b.c-1", "xgrpc-", "bin"}) {
    EXPECT_TRUE(IsMetadataKey(key)) << key;
  }
  for (const char* key :
       {"", "X-Tenant", "grpc-tenant", "tenant-bin", "a b", ":path", "t\xc3\xa9"}) {
    EXPECT_FALSE(IsMetadataKey(key)) << key;
  }
}

TEST(MetadataTextTest, TextIsPrintableAsciiWithoutSpaces) {
  for (const char* text : {"", "a", "!~", "A=b/c"}) EXPECT_TRUE(IsMetadataText(text)) << text;
  for (const char* text : {"a b", " ", "\n", "\x7f", "\xc3\xa9"}) {
    EXPECT_FALSE(IsMetadataText(text)) << text;
  }
}

}  // namespace
}  // namespace quire::server
