#include "server/auth/tenant_file.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace quire::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TenantsConfig MustParse(const std::string& json) {
  const absl::StatusOr<TenantsConfig> config = ParseTenantFile(json);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : TenantsConfig();
}

// The hash of no bytes at all: a key's secret that tests need not make.
std::string Nothing() { return "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; }

// Of a call that has this authorization, "named" under x-t, and a certificate with those names.
std::string OwnerOf(const CredentialTable& table, absl::string_view authorization,
                    const std::vector<std::string>& certificate_names) {
  const auto metadata = [&](absl::string_view key) -> std::vector<absl::string_view> {
    if (key == "x-t") return {"named"};
    if (key == "authorization" && !authorization.empty()) return {authorization};
    return {};
  };
  const auto names = [&] { return certificate_names; };
  const auto owner =
      table.Identify({.metadata = metadata, .certificate_names = names}, absl::UnixEpoch());
  EXPECT_TRUE(owner.ok()) << owner.status();
  return owner.ok() ? owner->value_or(Identity{.owner = "nobody"}).owner : "refused";
}

TEST(TenantFileTest, EveryFieldReachesItsPlace) {
  const TenantsConfig config = MustParse(R"({
    "trusted_forwarders": {"certificate_names": ["dns:Proxy"], "tenant_header": "x-t"},
    "admin": {"api_keys": [{"id": "ops", "sha256": ")" +
                                         Nothing() + R"("}]},
    "default_tenant": {"weight": 0.5},
    "tenants": [{
      "name": "a", "weight": 2, "max_priority": 3, "max_running": 4, "max_queued": 5,
      "max_queued_tokens": 6000000000, "tokens_per_second": 7.5, "burst_tokens": 8,
      "kv_reserved": "9K", "kv_limit": "10M", "prefix_cache_floor": "11",
      "prefix_cache_ceiling": "1T", "sharing_group": "g", "max_context_tokens": 12,
      "max_output_tokens": 13, "api_keys": [{"id": "k", "sha256": ")" +
                                         Nothing() + R"("}],
      "certificate_names": ["spiffe://cluster/a"]}]})");
  ASSERT_TRUE(config.default_tenant.has_value());
  EXPECT_EQ(config.default_tenant->policy,
            (TenantPolicy{.name = "default", .weight = 0.5, .sharing_group = ""}));
  ASSERT_EQ(config.tenants.size(), 1u);
  EXPECT_EQ(config.tenants[0].policy, (TenantPolicy{.name = "a",
                                                    .weight = 2,
                                                    .max_priority = 3,
                                                    .max_running = 4,
                                                    .max_queued = 5,
                                                    .max_queued_tokens = 6000000000,
                                                    .tokens_per_second = 7.5,
                                                    .burst_tokens = 8,
                                                    .kv_reserved_bytes = 9 << 10,
                                                    .kv_limit_bytes = 10 << 20,
                                                    .prefix_floor_bytes = 11,
                                                    .prefix_ceiling_bytes = int64_t{1} << 40,
                                                    .sharing_group = "g"}));
  EXPECT_EQ(config.tenants[0].max_context_tokens, 12);
  EXPECT_EQ(config.tenants[0].max_output_tokens, 13);
  EXPECT_EQ(OwnerOf(*config.credentials, "Bearer k.", {}), "a");
  EXPECT_EQ(OwnerOf(*config.credentials, "", {"spiffe://cluster/a"}), "a");
  EXPECT_EQ(OwnerOf(*config.credentials, "", {"dns:proxy"}), "named");
  EXPECT_EQ(OwnerOf(*config.admins, "Bearer ops.", {}), "admin");
}

TEST(TenantFileTest, WhatIsLeftOutIsNotLimited) {
  const TenantsConfig nothing = MustParse("{}");
  EXPECT_TRUE(nothing.tenants.empty());
  EXPECT_FALSE(nothing.default_tenant.has_value());
  EXPECT_TRUE(nothing.credentials->empty());
  EXPECT_TRUE(nothing.admins->empty());
  const TenantsConfig bare = MustParse(
      R"({"trustedForwarders": {"certificateNames": ["dns:proxy"]},
          "tenants": [{"name": "a"}, {"name": "b"}]})");
  ASSERT_EQ(bare.tenants.size(), 2u);
  EXPECT_EQ(bare.tenants[1].policy, (TenantPolicy{.name = "b", .sharing_group = ""}));
}

// A file with one tenant named "a" that also has `fields`.
std::string WithTenant(const std::string& fields) {
  return R"({"trusted_forwarders": {"certificate_names": ["dns:p"]}, "tenants": [{"name": "a", )" +
         fields + "}]}";
}

TEST(TenantFileTest, EveryErrorIsOneLineThatNamesThePlace) {
  const struct {
    std::string json;
    std::vector<std::string> parts;
  } cases[] = {
      {"", {"not a config file"}},
      {"[]", {"not a config file"}},
      {R"({"tenants": [{"name": "a"} {"name": "b"}]})", {"Expected , or ]", R"({"name": "b"})"}},
      {R"({"tennants": []})", {"tennants", "Cannot find field", "proto/quire/v1/config.proto"}},
      {WithTenant(R"("weigth": 2)"), {"tenants[0]", "weigth", "Cannot find field"}},
      {WithTenant(R"("weight": 1, "weight": 2)"), {"tenants[0]", "weight", "already set"}},
      {WithTenant(R"("weight": "heavy")"), {"tenants[0].weight", "heavy"}},
      {WithTenant(R"("weight": 0)"), {"tenants[0]", "tenant a", "weight 0"}},
      {WithTenant(R"("max_running": -1)"), {"tenants[0]", "max_running is -1"}},
      {WithTenant(R"("max_running": 3000000000)"), {"tenants[0].max_running", "3000000000"}},
      {WithTenant(R"("tokens_per_second": "NaN")"), {"tenants[0]", "tokens_per_second is nan"}},
      {WithTenant(R"("kv_reserved": "much")"), {"tenants[0]", "kv_reserved", "'much'", "512M"}},
      {WithTenant(R"("kv_limit": "")"), {"tenants[0]", "kv_limit", "''"}},
      {WithTenant(R"("kv_limit": "2\nG")"), {"tenants[0]", "kv_limit", R"('2\nG')"}},
      {WithTenant(R"("prefix_cache_floor": "-1")"), {"tenants[0]", "prefix_cache_floor", "'-1'"}},
      {WithTenant(R"("prefix_cache_ceiling": "1X")"), {"tenants[0]", "prefix_cache_ceiling"}},
      {WithTenant(R"("kv_reserved": "2M", "kv_limit": "1M")"),
       {"tenants[0]", "kv_reserved 2097152 is more than kv_limit 1048576"}},
      {WithTenant(R"("max_context_tokens": -2)"),
       {"tenants[0]: max_context_tokens is -2; it must be 0"}},
      {WithTenant(R"("max_output_tokens": -3)"),
       {"tenants[0]: max_output_tokens is -3; it must be 0"}},
      {WithTenant(R"("sharing_group": "my group")"), {"tenants[0]", "sharing_group", "my group"}},
      {R"({"tenants": [{"weight": 1}]})", {"tenants[0]", "name is ''", "1 to 64 printable ASCII"}},
      {R"({"tenants": [{"name": "bj\u00f6rn"}]})", {"tenants[0]", "'bj\u00f6rn'"}},
      {R"({"tenants": [{"name": ")" + std::string(65, 'n') + "\"}]}", {"tenants[0]", "1 to 64"}},
      {R"({"tenants": [{"name": "a"}, {"name": "a"}]})", {"tenants[1]", "'a' is taken"}},
      {R"({"tenants": [{"name": "default"}]})", {"tenants[0]", "'default' is taken"}},
      {R"({"default_tenant": {"name": "a b"}})", {"default_tenant", "leave out its name"}},
      {R"({"default_tenant": {"max_queued": -1}})", {"default_tenant", "max_queued is -1"}},
      {R"({"tenants": [{"name": "a"}]})", {"tenants: no call could be theirs", "new-key"}},
      {R"({"trusted_forwarders": {"certificate_names": ["dns:p"]}})", {"nobody could call"}},
      {R"({"trusted_forwarders": {}, "default_tenant": {}})",
       {"trusted_forwarders: certificate_names is empty"}},
      {R"({"trusted_forwarders": {"certificate_names": ["dns:p"], "tenant_header": "grpc-x"}})",
       {"trusted_forwarders: tenant_header is 'grpc-x'"}},
      {R"({"trusted_forwarders": {"certificate_names": ["p"]}})",
       {"trusted_forwarders", "\"p\" must be \"dns:NAME\" or a URI"}},
      {WithTenant(R"("certificate_names": ["dns:P"])"), {"\"dns:p\" is there twice"}},
      {WithTenant(R"("certificate_names": ["dns:"])"), {"tenants[0]", "\"dns:\" must be"}},
      {WithTenant(R"("api_keys": [{"id": "k", "sha256": "12"}])"),
       {"tenants[0]", "api_keys: k: sha256 must be 64 hexadecimal digits"}},
      {WithTenant(R"("api_keys": [{"id": "a.b", "sha256": ")" + Nothing() + "\"}]"),
       {"the id \"a.b\" must be 1 to 64 letters"}},
      {WithTenant(R"("api_keys": [{"id": "k", "sha256": ")" + Nothing() +
                  R"("}, {"id": "k", "sha256": ")" + Nothing() + "\"}]"),
       {"the id \"k\" is taken"}},
      {R"({"default_tenant": {"certificate_names": ["dns:p"]}})",
       {"default_tenant", "it has no credentials"}},
      {R"({"admin": {}})", {"admin: nobody could call"}},
      {R"({"default_tenant": {}, "tokens": {"issuer": "i", "audience": "a"}})",
       {"tokens: key_set_file is missing"}},
      {R"({"default_tenant": {}, "tokens": {"issuer": "i", "audience": "a",
           "key_set_file": "/no/such/file"}})",
       {"tokens: key_set_file", "/no/such/file"}},
      {R"({"default_tenant": {}, "tokens": {"issuer": "i", "audience": "a", "key_set_file": "f",
           "clock_skew_seconds": 601}})",
       {"tokens: clock_skew_seconds is 601"}},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<TenantsConfig> config = ParseTenantFile(c.json);
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << c.json;
    const std::string message(config.status().message());
    EXPECT_THAT(message, Not(HasSubstr("\n"))) << c.json;
    for (const std::string& part : c.parts) EXPECT_THAT(message, HasSubstr(part)) << c.json;
  }
}

TEST(TenantFileTest, WhatIsEncodedReadsBackTheSame) {
  TenantSettings tenant;
  tenant.policy = {.name = "a",
                   .weight = 0.25,
                   .max_priority = 1,
                   .max_running = 2,
                   .max_queued = 3,
                   .max_queued_tokens = 4,
                   .tokens_per_second = 5.5,
                   .burst_tokens = 6,
                   .kv_reserved_bytes = 7,
                   .kv_limit_bytes = 8,
                   .prefix_floor_bytes = 9,
                   .prefix_ceiling_bytes = 10,
                   .sharing_group = "g"};
  tenant.max_context_tokens = 11;
  tenant.max_output_tokens = 12;
  const v1::TenantConfig message = EncodeTenant(tenant);
  const auto* const descriptor = v1::TenantConfig::GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (field->is_repeated()) continue;  // credentials are not all there
    EXPECT_TRUE(v1::TenantConfig::GetReflection()->HasField(message, field)) << field->name();
  }
  std::string json;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(message, &json).ok());
  const TenantsConfig config = MustParse(
      R"({"trusted_forwarders": {"certificate_names": ["dns:p"]}, "tenants": [)" + json + "]}");
  ASSERT_EQ(config.tenants.size(), 1u);
  EXPECT_EQ(config.tenants[0].policy, tenant.policy);
  EXPECT_EQ(config.tenants[0].max_context_tokens, 11);
  EXPECT_EQ(config.tenants[0].max_output_tokens, 12);
}

TEST(TenantFileTest, LimitsThatThereAreNotAreLeftOutOfTheEncoding) {
  TenantSettings tenant;
  tenant.policy.name = "a";
  EXPECT_EQ(EncodeTenant(tenant).ShortDebugString(), "name: \"a\" weight: 1");
}

TEST(TenantFileTest, OfAnApiKeyItsIdAloneIsShown) {
  TenantSettings tenant;
  tenant.policy.name = "a";
  tenant.api_keys = {{.id = "k", .sha256 = {1, 2, 3}}};
  EXPECT_EQ(EncodeTenant(tenant).ShortDebugString(),
            "name: \"a\" weight: 1 api_keys { id: \"k\" }");
}

TEST(TenantFileTest, AnErrorOfSyntaxHasItsLine) {
  const auto error = [](const std::string& json) {
    return std::string(ParseTenantFile(json).status().message());
  };
  const std::string missing_comma = "{\"tenants\": [\n{\"name\": \"^\"}\n{\"name\": \"b\"}]}";
  EXPECT_THAT(error(missing_comma), AllOf(HasSubstr("not a config file: line 3: Expected , or ]"),
                                          HasSubstr("\"^\"} {"), Not(HasSubstr("\n"))));
  EXPECT_THAT(error("{\n\n"), HasSubstr("line 3: "));
  EXPECT_THAT(error("{\n\"tennants\": []}"), AllOf(HasSubstr("tennants"), Not(HasSubstr("line"))));
}

TEST(TenantFileTest, ErrorsOfAFileNameIt) {
  EXPECT_THAT(LoadTenantFile("/no/such/file").status().ToString(), HasSubstr("/no/such/file"));
  const std::string path = ::testing::TempDir() + "tenant_file_test.json";
  std::ofstream(path) << R"({"tenants": 5})";
  EXPECT_THAT(LoadTenantFile(path).status().ToString(),
              AllOf(HasSubstr(path + ": "), HasSubstr("tenants")));
  std::ofstream(path) << R"({"default_tenant": {}})";
  EXPECT_TRUE(LoadTenantFile(path)->default_tenant.has_value());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace quire::server
