#include "server/exposure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace quire::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::shared_ptr<const CredentialTable> SomeCredentials() {
  auto table = std::make_shared<CredentialTable>();
  EXPECT_TRUE(table->AddCertificate("dns:somebody", "somebody").ok());
  return table;
}

TenantsConfig KnownTenants() {
  TenantsConfig tenants;
  tenants.tenants.emplace_back();
  tenants.credentials = SomeCredentials();
  return tenants;
}

class ExposureTest : public ::testing::Test {
 protected:
  ExposureTest() { config_.listen = {"0.0.0.0", 50051}; }

  void UseTls() {
    config_.tls.certificate = "c";
    config_.tls.key = "k";
  }
  std::string Error(const TenantsConfig& tenants) const {
    return CheckExposure(config_, tenants).ToString();
  }

  ServerConfig config_;
};

TEST_F(ExposureTest, OnLoopbackAnythingGoes) {
  config_.listen = {"127.0.0.1", 1};
  config_.admin_listen = {"::1", 1};
  EXPECT_EQ(Error({}), "OK");
}

TEST_F(ExposureTest, MetricsAndHealthMayBeReached) {
  config_.listen = {"127.0.0.1", 1};
  config_.metrics_listen = {"0.0.0.0", 1};
  config_.health_listen = {"0.0.0.0", 1};
  EXPECT_EQ(Error({}), "OK");
}

TEST_F(ExposureTest, BeyondItThereIsTlsAndACaller) {
  EXPECT_THAT(Error(KnownTenants()), AllOf(HasSubstr("--listen: 0.0.0.0:50051"),
                                           HasSubstr("add --tls-cert"), HasSubstr("--insecure")));
  UseTls();
  EXPECT_EQ(Error(KnownTenants()), "OK");
  EXPECT_THAT(Error({}), HasSubstr("whoever connects may call; have --config name tenants"));
  TenantsConfig open = KnownTenants();
  open.default_tenant.emplace();
  EXPECT_THAT(Error(open), HasSubstr("no default_tenant"));
  config_.tls.require_client_certificate = true;
  EXPECT_EQ(Error(open), "OK");
  EXPECT_EQ(Error({}), "OK");
}

TEST_F(ExposureTest, TheAdminServiceIsForAdmins) {
  config_.admin_listen = {"0.0.0.0", 1};
  UseTls();
  TenantsConfig tenants = KnownTenants();
  EXPECT_THAT(Error(tenants), AllOf(HasSubstr("--admin-listen: 0.0.0.0:1"), HasSubstr("an admin")));
  tenants.admins = SomeCredentials();
  EXPECT_EQ(Error(tenants), "OK");
  config_.tls = {};
  config_.listen = {"127.0.0.1", 1};
  EXPECT_THAT(Error(tenants), AllOf(HasSubstr("--admin-listen"), HasSubstr("add --tls-cert")));
}

TEST_F(ExposureTest, InsecureLiftsIt) {
  config_.admin_listen = {"0.0.0.0", 1};
  config_.insecure = true;
  EXPECT_EQ(Error({}), "OK");
}

}  // namespace
}  // namespace quire::server
