#include "server/auth/api_key.h"

#include <gtest/gtest.h>

namespace quire::server {
namespace {

TEST(ApiKeyTest, AKeyIsRecognizedByItsSecretAlone) {
  const NewApiKey key = MakeApiKey("web-1");
  ASSERT_EQ(key.bearer.substr(0, 6), "web-1.");
  const std::string secret = key.bearer.substr(6);
  EXPECT_GE(secret.size(), 43u) << "32 bytes in base64";
  EXPECT_EQ(
      secret.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
      std::string::npos);
  EXPECT_TRUE(HasSecret(key.hash, secret));
  EXPECT_FALSE(HasSecret(key.hash, secret + "A"));
  EXPECT_FALSE(HasSecret(key.hash, secret.substr(1)));
  EXPECT_FALSE(HasSecret(key.hash, ""));
  EXPECT_FALSE(HasSecret(MakeApiKey("web-1").hash, secret));
}

TEST(ApiKeyTest, HashesAreHexadecimal) {
  // FIPS 180-2, appendix B.1.
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const absl::StatusOr<Sha256> hash = ParseSha256(abc);
  ASSERT_TRUE(hash.ok());
  EXPECT_EQ(ToHex(*hash), abc);
  EXPECT_TRUE(HasSecret({.id = "k", .sha256 = *hash}, "abc"));
  EXPECT_FALSE(ParseSha256(abc.substr(1)).ok());
  EXPECT_FALSE(ParseSha256("x" + abc.substr(1)).ok());
  EXPECT_FALSE(ParseSha256("").ok());
}

TEST(ApiKeyTest, IdsAreShortAndPlain) {
  EXPECT_TRUE(IsApiKeyId("a"));
  EXPECT_TRUE(IsApiKeyId(std::string(64, 'Z')));
  for (const std::string& id : {std::string(), std::string(65, 'a'), std::string("a.b"),
                                std::string("a b"), std::string("\xc3\xa4")}) {
    EXPECT_FALSE(IsApiKeyId(id)) << id;
  }
}

}  // namespace
}  // namespace quire::server
