#include "server/auth/credential_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "core/base/refusal.h"

namespace quire::server {
namespace {

using Owner = absl::StatusOr<std::optional<Identity>>;

struct Call {
  std::multimap<std::string, std::string> metadata = {};
  std::vector<std::string> certificate_names = {};
};

Owner Identify(const CredentialTable& table, const Call& call) {
  const auto metadata = [&](absl::string_view key) {
    std::vector<absl::string_view> values;
    const auto [begin, end] = call.metadata.equal_range(std::string(key));
    for (auto it = begin; it != end; ++it) values.emplace_back(it->second);
    return values;
  };
  const auto names = [&] { return call.certificate_names; };
  return table.Identify({.metadata = metadata, .certificate_names = names}, absl::UnixEpoch());
}

void ExpectOwner(const Owner& owner, const char* expected) {
  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_EQ(owner->value_or(Identity{.owner = "nobody"}).owner, expected);
}

void ExpectRefused(const Owner& owner, const char* reason) {
  EXPECT_EQ(owner.status().code(), absl::StatusCode::kUnauthenticated);
  const std::optional<Refusal> refusal = RefusalOf(owner.status());
  ASSERT_TRUE(refusal.has_value()) << owner.status();
  EXPECT_EQ(refusal->reason, reason);
}

class CredentialTableTest : public ::testing::Test {
 protected:
  CredentialTableTest() {
    EXPECT_TRUE(table_.AddKey(a_.hash, "a").ok());
    EXPECT_TRUE(table_.AddKey(b_.hash, "b").ok());
    EXPECT_TRUE(table_.AddCertificate("spiffe://x/a", "a").ok());
    EXPECT_TRUE(table_.AddCertificate("dns:B.example", "b").ok());
    EXPECT_TRUE(table_.AddForwarder("dns:proxy").ok());
    table_.SetForwarderHeader("x-t");
  }

  Owner WithBearer(const std::string& text, Call call = {}) const {
    call.metadata.emplace("authorization", text);
    return Identify(table_, call);
  }

  const NewApiKey a_ = MakeApiKey("ka"), b_ = MakeApiKey("kb");
  CredentialTable table_;
};

TEST_F(CredentialTableTest, AnEmptyTableAsksForNothing) {
  const CredentialTable empty;
  EXPECT_TRUE(empty.empty());
  ExpectOwner(Identify(empty, {.metadata = {{"authorization", "Bearer x"}}}), "nobody");
}

TEST_F(CredentialTableTest, AKeyIsItsOwners) {
  ExpectOwner(WithBearer("Bearer " + a_.bearer), "a");
  ExpectOwner(WithBearer("bearer  " + b_.bearer + " "), "b");
}

TEST_F(CredentialTableTest, OnlyAKeyHasAnId) {
  EXPECT_EQ((*WithBearer("Bearer " + a_.bearer))->key_id, "ka");
  EXPECT_EQ((*Identify(table_, {.certificate_names = {"spiffe://x/a"}}))->key_id, "");
  const Call forwarded = {.metadata = {{"x-t", "ka"}}, .certificate_names = {"dns:proxy"}};
  EXPECT_EQ((*Identify(table_, forwarded))->key_id, "");
}

TEST_F(CredentialTableTest, WhatDoesNotHoldIsRefusedWhateverElseTheCallHas) {
  const Call with_certificate = {.certificate_names = {"spiffe://x/a"}};
  const std::string secret = a_.bearer.substr(3);
  for (const std::string& bearer :
       {std::string("ka"), std::string("ka."), std::string("."), std::string(), "kb." + secret,
        "ka." + secret.substr(1), "ka." + secret + "x", "kc." + secret, "ka.." + secret,
        a_.bearer + ".x", a_.bearer + " " + a_.bearer}) {
    ExpectRefused(WithBearer("Bearer " + bearer, with_certificate), "API_KEY_UNKNOWN");
  }
  ExpectRefused(WithBearer("Basic YTpi", with_certificate), "CREDENTIALS_UNKNOWN");
  ExpectRefused(WithBearer("", with_certificate), "CREDENTIALS_UNKNOWN");
  ExpectRefused(WithBearer(a_.bearer, with_certificate), "CREDENTIALS_UNKNOWN");
}

TEST_F(CredentialTableTest, TwoAuthorizationsAreOneTooMany) {
  Call call;
  call.metadata.emplace("authorization", "Bearer " + a_.bearer);
  ExpectRefused(WithBearer("Bearer " + a_.bearer, call), "CREDENTIALS_AMBIGUOUS");
}

TEST_F(CredentialTableTest, ACertificateIsItsOwnersAndAKeyGoesBeforeIt) {
  ExpectOwner(Identify(table_, {.certificate_names = {"spiffe://x/a"}}), "a");
  ExpectOwner(Identify(table_, {.certificate_names = {"dns:other", "dns:b.EXAMPLE"}}), "b");
  ExpectOwner(Identify(table_, {.certificate_names = {"spiffe://X/a"}}), "nobody");
  ExpectOwner(Identify(table_, {.certificate_names = {"dns:", "no name"}}), "nobody");
  ExpectOwner(Identify(table_, {}), "nobody");
  ExpectOwner(WithBearer("Bearer " + a_.bearer, {.certificate_names = {"dns:b.example"}}), "a");
  ExpectRefused(Identify(table_, {.certificate_names = {"spiffe://x/a", "dns:b.example"}}),
                "CREDENTIALS_AMBIGUOUS");
}

TEST_F(CredentialTableTest, AForwarderAloneMaySayWhoseACallIs) {
  Call call = {.metadata = {{"x-t", "whoever"}}};
  ExpectOwner(Identify(table_, call), "nobody");
  call.certificate_names = {"spiffe://x/a"};
  ExpectOwner(Identify(table_, call), "a");
  call.certificate_names = {"dns:proxy"};
  ExpectOwner(Identify(table_, call), "whoever");
  ExpectOwner(WithBearer("Bearer " + b_.bearer, call), "b");
  call.metadata.emplace("x-t", "another");
  ExpectRefused(Identify(table_, call), "CREDENTIALS_AMBIGUOUS");
  call.metadata = {};
  ExpectRefused(Identify(table_, call), "TENANT_MISSING");
}

TEST_F(CredentialTableTest, NothingIsTwoOwners) {
  EXPECT_FALSE(table_.AddKey(a_.hash, "b").ok());
  EXPECT_FALSE(table_.AddCertificate("dns:b.example", "a").ok());
  EXPECT_FALSE(table_.AddForwarder("spiffe://x/a").ok());
  EXPECT_FALSE(table_.AddCertificate("b.example", "a").ok());
  EXPECT_FALSE(table_.AddCertificate("://b", "a").ok());
  EXPECT_FALSE(table_.AddCertificate("spiffe://x/ a", "a").ok());
}

}  // namespace
}  // namespace quire::server
