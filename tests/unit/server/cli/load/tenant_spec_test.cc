#include "server/cli/load/tenant_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace quire::cli {
namespace {

using ::testing::HasSubstr;

TEST(TenantSpecTest, EveryFieldIsRead) {
  const auto tenant = ParseTenant(
      "name=a,rate=2.5,burstiness=0.5,prompt=100,prompt-sigma=1.5,output=20,output-sigma=0.5,"
      "prefix=64,key=abc=,priority=-3,weight=1.5",
      TenantSpec());
  ASSERT_TRUE(tenant.ok()) << tenant.status();
  EXPECT_EQ(tenant->name, "a");
  EXPECT_EQ(tenant->rate, 2.5);
  EXPECT_EQ(tenant->burstiness, 0.5);
  EXPECT_EQ(tenant->concurrency, 0);
  EXPECT_EQ(tenant->prompt.median, 100);
  EXPECT_EQ(tenant->prompt.sigma, 1.5);
  EXPECT_EQ(tenant->output.median, 20);
  EXPECT_EQ(tenant->output.sigma, 0.5);
  EXPECT_EQ(tenant->prefix_tokens, 64);
  EXPECT_EQ(tenant->key, "abc=");
  EXPECT_EQ(tenant->priority, -3);
  EXPECT_EQ(tenant->weight, 1.5);
  EXPECT_TRUE(ValidateTenant(*tenant).ok());
}

TEST(TenantSpecTest, WhatIsLeftOutIsAsForAllAndOneKindOfLoadReplacesTheOther) {
  const TenantSpec defaults{.rate = 4, .prompt = {.median = 77}};
  EXPECT_EQ(ParseTenant("name=a", defaults)->rate, 4);
  EXPECT_EQ(ParseTenant("name=a", defaults)->prompt.median, 77);
  const auto closed = ParseTenant("name=a,concurrency=3", defaults);
  EXPECT_EQ(closed->concurrency, 3);
  EXPECT_EQ(closed->rate, 0);
  EXPECT_TRUE(ValidateTenant(*closed).ok());
}

TEST(TenantSpecTest, WhatCannotBeReadIsNamed) {
  const struct {
    const char* text;
    const char* message;
  } kCases[] = {
      {"rate=2", "name=... is missing"},
      {"name=a,speed=2", "'speed' is not known"},
      {"name=a,rate", "'rate' is not KEY=VALUE"},
      {"name=a,rate=", "'rate=' is not KEY=VALUE"},
      {"name=a,rate=fast", "rate=fast is not a number"},
      {"name=a,rate=2x", "rate=2x is not a number"},
      {"name=a,prompt=99999999999", "prompt=99999999999 is not a number in range"},
      {"name=a,rate=1,rate=2", "'rate' is given twice"},
      {"name=a,rate=1,concurrency=2", "exclude each other"},
      {"name=a,,rate=1", "'' is not KEY=VALUE"},
  };
  for (const auto& wrong : kCases) {
    const auto tenant = ParseTenant(wrong.text, TenantSpec());
    ASSERT_FALSE(tenant.ok()) << wrong.text;
    EXPECT_THAT(std::string(tenant.status().message()), HasSubstr(wrong.message)) << wrong.text;
  }
}

TEST(TenantSpecTest, WhatMakesNoSenseIsNamedWithTheTenant) {
  const TenantSpec fine{.name = "a", .rate = 1};
  ASSERT_TRUE(ValidateTenant(fine).ok());
  const auto message = [&fine](auto change) {
    TenantSpec tenant = fine;
    change(&tenant);
    return std::string(ValidateTenant(tenant).message());
  };
  using T = TenantSpec;
  EXPECT_THAT(message([](T* t) { t->rate = 0; }), HasSubstr("tenant 'a': neither a rate"));
  EXPECT_THAT(message([](T* t) { t->concurrency = 1; }), HasSubstr("exclude each other"));
  EXPECT_THAT(message([](T* t) { t->rate = -1; }), HasSubstr("a rate of -1"));
  EXPECT_THAT(message([](T* t) { t->rate = std::numeric_limits<double>::quiet_NaN(); }),
              HasSubstr("a rate of nan"));
  EXPECT_THAT(message([](T* t) { t->burstiness = 0; }), HasSubstr("a burstiness of 0"));
  EXPECT_THAT(message([](T* t) { t->prompt.median = 0; }), HasSubstr("a length of 0"));
  EXPECT_THAT(message([](T* t) { t->output.sigma = -1; }), HasSubstr("a sigma of -1"));
  EXPECT_THAT(message([](T* t) { t->prefix_tokens = -1; }), HasSubstr("prefix of -1"));
  EXPECT_THAT(message([](T* t) { t->weight = 0; }), HasSubstr("a weight of 0"));
  EXPECT_THAT(message([](T* t) { t->key = "a\r\nb: c"; }), HasSubstr("a header cannot carry"));
  EXPECT_THAT(message([](T* t) { t->name = "a b"; }), HasSubstr("name is printable"));
}

}  // namespace
}  // namespace quire::cli
