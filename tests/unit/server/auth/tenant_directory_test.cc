#include "server/auth/tenant_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

#include "core/base/refusal.h"

namespace quire::server {
namespace {

using ::testing::HasSubstr;

TenantSettings Tenant(const std::string& name, int32_t max_output_tokens = 0) {
  TenantSettings tenant;
  tenant.policy.name = name;
  tenant.max_output_tokens = max_output_tokens;
  return tenant;
}

TenantsConfig Config(std::vector<TenantSettings> tenants, bool has_default = false) {
  TenantsConfig config;
  const auto credentials = std::make_shared<CredentialTable>();
  EXPECT_TRUE(credentials->AddForwarder("dns:proxy").ok());
  credentials->SetForwarderHeader("t");
  config.credentials = credentials;
  config.tenants = std::move(tenants);
  if (has_default) config.default_tenant = Tenant("", 7);
  return config;
}

TenantChanges Change(TenantDirectory* directory, const TenantsConfig& config) {
  return directory->Install(directory->MakeRoster(config));
}

// Of a call that the trusted forwarder says is that of `names`; without any, of one that shows
// nothing.
absl::StatusOr<Caller> Resolve(const TenantDirectory& directory,
                               const std::vector<absl::string_view>& names) {
  const auto metadata = [&](absl::string_view key) {
    return key == "t" ? names : std::vector<absl::string_view>();
  };
  const auto certificate = [&] {
    return names.empty() ? std::vector<std::string>() : std::vector<std::string>{"dns:proxy"};
  };
  return directory.Resolve({.metadata = metadata, .certificate_names = certificate},
                           absl::UnixEpoch());
}

uint32_t IdOf(const TenantDirectory& directory, const char* name) {
  const absl::StatusOr<Caller> caller = Resolve(directory, {name});
  EXPECT_TRUE(caller.ok()) << name << ": " << caller.status();
  return caller.ok() ? caller->tenant.value() : UINT32_MAX;
}

void ExpectRefused(const absl::StatusOr<Caller>& caller, const char* reason, const char* part) {
  EXPECT_EQ(caller.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(caller.status().message()), HasSubstr(part));
  const std::optional<Refusal> refusal = RefusalOf(caller.status());
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->reason, reason);
}

TEST(TenantDirectoryTest, WithoutAConfigurationEverybodyIsTheDefaultTenant) {
  const TenantDirectory directory;
  EXPECT_EQ(IdOf(directory, "a"), 0u);
  EXPECT_EQ(Resolve(directory, {})->tenant, TenantId(0));
  EXPECT_EQ(directory.roster().Table(), (TenantTable{Tenant("default").policy}));
}

TEST(TenantDirectoryTest, WithoutCredentialsTheDefaultPolicyIsEverybodys) {
  TenantDirectory directory;
  TenantsConfig config = Config({}, /*has_default=*/true);
  config.credentials = std::make_shared<CredentialTable>();
  Change(&directory, config);
  const absl::StatusOr<Caller> caller = Resolve(directory, {"a", "b"});
  ASSERT_TRUE(caller.ok());
  EXPECT_EQ(caller->max_output_tokens, 7);
}

TEST(TenantDirectoryTest, ATenantsCallsGetItsIdAndItsLimits) {
  TenantDirectory directory;
  TenantSettings b = Tenant("b", 5);
  b.max_context_tokens = 4;
  Change(&directory, Config({Tenant("a"), b}));
  EXPECT_EQ(IdOf(directory, "a"), 1u);
  const absl::StatusOr<Caller> caller = Resolve(directory, {"b"});
  ASSERT_TRUE(caller.ok());
  EXPECT_EQ(caller->tenant, TenantId(2));
  EXPECT_EQ(caller->tenant_name, "b");
  EXPECT_EQ(caller->max_context_tokens, 4);
  EXPECT_EQ(caller->max_output_tokens, 5);
}

TEST(TenantDirectoryTest, WhoeverIsNotListedIsRefusedWithAReason) {
  TenantDirectory directory;
  Change(&directory, Config({Tenant("a")}));
  ExpectRefused(Resolve(directory, {}), "CREDENTIALS_MISSING", "does not show whose it is");
  ExpectRefused(Resolve(directory, {"b"}), "TENANT_UNKNOWN", "\"b\" is not configured");
  ExpectRefused(Resolve(directory, {"default"}), "TENANT_UNKNOWN", "\"default\"");
  ExpectRefused(Resolve(directory, {""}), "TENANT_MISSING", "with one t");
  ExpectRefused(Resolve(directory, {"a", "a"}), "CREDENTIALS_AMBIGUOUS", "this one has 2");
  const std::string long_name(1000, '\n');
  const absl::StatusOr<Caller> caller = Resolve(directory, {long_name});
  ExpectRefused(caller, "TENANT_UNKNOWN", "...");
  EXPECT_LT(caller.status().message().size(), 400u);
}

TEST(TenantDirectoryTest, UnknownNamesShareTheDefaultTenantWhereThereIsOne) {
  TenantDirectory directory;
  Change(&directory, Config({Tenant("a")}, /*has_default=*/true));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(IdOf(directory, std::to_string(i).c_str()), 0u);
  EXPECT_EQ(Resolve(directory, {})->max_output_tokens, 7);
  EXPECT_EQ(directory.roster().entries.size(), 2u);
  ExpectRefused(Resolve(directory, {"a", "b"}), "CREDENTIALS_AMBIGUOUS", "this one has 2");
}

TEST(TenantDirectoryTest, ANameKeepsItsIdThroughEveryConfiguration) {
  TenantDirectory directory;
  Change(&directory, Config({Tenant("a"), Tenant("b")}));
  Change(&directory, Config({Tenant("c"), Tenant("b")}));
  EXPECT_EQ(IdOf(directory, "b"), 2u);
  EXPECT_EQ(IdOf(directory, "c"), 3u);
  ExpectRefused(Resolve(directory, {"a"}), "TENANT_REMOVED", "\"a\" is no longer configured");
  Change(&directory, Config({Tenant("a", 9)}));
  EXPECT_EQ(IdOf(directory, "a"), 1u);
  EXPECT_EQ(Resolve(directory, {"a"})->max_output_tokens, 9);
  ExpectRefused(Resolve(directory, {"c"}), "TENANT_REMOVED", "\"c\"");
}

TEST(TenantDirectoryTest, ARemovedTenantsCallsAreThoseOfAnyUnknownName) {
  TenantDirectory directory;
  Change(&directory, Config({Tenant("a", 3)}));
  Change(&directory, Config({}, /*has_default=*/true));
  EXPECT_EQ(IdOf(directory, "a"), 0u);
  EXPECT_EQ(Resolve(directory, {"a"})->max_output_tokens, 7);
  Change(&directory, Config({}));
  ExpectRefused(Resolve(directory, {"a"}), "TENANT_REMOVED", "\"a\"");
  Change(&directory, Config({Tenant("a", 3)}, /*has_default=*/true));
  EXPECT_EQ(IdOf(directory, "a"), 1u);
  EXPECT_EQ(Resolve(directory, {"a"})->max_output_tokens, 3);
}

TEST(TenantDirectoryTest, ARemovedTenantKeepsItsLimitsAndNothingIsSetAsideForIt) {
  TenantDirectory directory;
  TenantSettings a = Tenant("a");
  a.policy.max_running = 2;
  a.policy.kv_reserved_bytes = 3;
  a.policy.kv_limit_bytes = 4;
  a.policy.prefix_floor_bytes = 5;
  Change(&directory, Config({a}));
  EXPECT_EQ(directory.roster().Table()[1], a.policy);
  Change(&directory, Config({}));
  EXPECT_EQ(
      directory.roster().Table()[1],
      (TenantPolicy{.name = "a", .max_running = 2, .kv_limit_bytes = 4, .sharing_group = ""}));
  Change(&directory, Config({a}));
  EXPECT_EQ(directory.roster().Table()[1], a.policy);
}

TEST(TenantDirectoryTest, ARemovedDefaultTenantKeepsItsLimitsToo) {
  TenantDirectory directory;
  TenantsConfig config = Config({Tenant("a")}, /*has_default=*/true);
  TenantPolicy& policy = config.default_tenant->policy;
  policy.max_running = 2;
  policy.kv_reserved_bytes = 3;
  policy.kv_limit_bytes = 4;
  Change(&directory, config);
  Change(&directory, Config({Tenant("a")}));
  EXPECT_EQ(directory.roster().Table()[0],
            (TenantPolicy{
                .name = "default", .max_running = 2, .kv_limit_bytes = 4, .sharing_group = ""}));
  Change(&directory, {});
  EXPECT_EQ(directory.roster().Table()[0], Tenant("default").policy) << "everybody's, unlimited";
}

TEST(TenantDirectoryTest, EveryTenantThatWasEverKnownIsFoundByItsName) {
  TenantDirectory directory;
  Change(&directory, Config({Tenant("a"), Tenant("b")}));
  Change(&directory, Config({Tenant("b")}));
  EXPECT_EQ(directory.Find("default"), TenantId(0));
  EXPECT_EQ(directory.Find("a"), TenantId(1));
  EXPECT_EQ(directory.Find("b"), TenantId(2));
  EXPECT_EQ(directory.Find("c"), std::nullopt);
  EXPECT_EQ(directory.Find(""), std::nullopt);
}

TEST(TenantDirectoryTest, NothingChangesBeforeARosterIsInstalled) {
  TenantDirectory directory;
  Change(&directory, Config({Tenant("a")}));
  const TenantRoster roster = directory.MakeRoster(Config({Tenant("b")}));
  EXPECT_EQ(IdOf(directory, "a"), 1u);
  ExpectRefused(Resolve(directory, {"b"}), "TENANT_UNKNOWN", R"("b")");
  EXPECT_EQ(roster.Table().size(), 3u);
}

TEST(TenantDirectoryTest, ChangesAreCounted) {
  TenantDirectory directory;
  TenantChanges changes = Change(&directory, Config({Tenant("a"), Tenant("b")}));
  EXPECT_EQ(changes.added, 2);
  EXPECT_EQ(changes.removed, 1);  // the default tenant
  changes = Change(&directory, Config({Tenant("a", 1), Tenant("c"), Tenant("d")}));
  EXPECT_EQ(changes.added, 2);
  EXPECT_EQ(changes.removed, 1);
  EXPECT_EQ(changes.changed, 1);
  changes = Change(&directory, Config({Tenant("a", 1), Tenant("c"), Tenant("d")}));
  EXPECT_EQ(changes.added + changes.removed + changes.changed, 0);
}

// For ThreadSanitizer: calls see one configuration or the other, whole.
TEST(TenantDirectoryTest, CallsGoOnWhileConfigurationsChange) {
  TenantDirectory directory;
  Change(&directory, Config({Tenant("a", 1)}));
  std::atomic<bool> stop{false};
  std::thread caller([&] {
    while (!stop) {
      const absl::StatusOr<Caller> found = Resolve(directory, {"a"});
      EXPECT_EQ(found.ok() ? found->max_output_tokens : 1, 1);
    }
  });
  for (int i = 0; i < 200; ++i) {
    Change(&directory, Config({Tenant("b")}));
    Change(&directory, Config({Tenant("a", 1)}));
  }
  stop = true;
  caller.join();
}

}  // namespace
}  // namespace quire::server
