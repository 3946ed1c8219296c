#include "core/request/tenant_policy.h"

#include <functional>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

TenantPolicy Named(const std::string& name) {
  TenantPolicy policy;
  policy.name = name;
  return policy;
}

TEST(TenantPolicyTest, ANameIsEnough) {
  EXPECT_TRUE(ValidateTenants({Named("a"), Named("b")}).ok());
}

TEST(TenantPolicyTest, TheEdgesOfWhatIsAllowedAreAllowed) {
  TenantPolicy policy = Named("a");
  policy.kv_reserved_bytes = policy.kv_limit_bytes = 100;
  policy.prefix_floor_bytes = policy.prefix_ceiling_bytes = 100;
  policy.tokens_per_second = 0.5;
  for (const double weight : {1e-6, 1e6}) {
    policy.weight = weight;
    EXPECT_TRUE(ValidateTenants({policy}).ok()) << weight;
  }
  policy.kv_limit_bytes = policy.prefix_ceiling_bytes = 0;
  EXPECT_TRUE(ValidateTenants({policy}).ok()) << "0 is no limit";
}

TEST(TenantPolicyTest, ARefusalNamesTheTenantTheValueAndTheRule) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const struct {
    std::function<void(TenantPolicy*)> change;
    const char* message;
  } cases[] = {
      {[](auto* t) { t->weight = 0; }, "weight 0 is not in"},
      {[](auto* t) { t->weight = -1; }, "weight -1 is not in"},
      {[](auto* t) { t->weight = 2e6; }, "weight 2e+06 is not in"},
      {[nan](auto* t) { t->weight = nan; }, "weight nan is not in"},
      {[](auto* t) { t->max_priority = -1; },
       "tenant research: max_priority is -1; it must be 0 (none) or more"},
      {[](auto* t) { t->max_running = -2; },
       "tenant research: max_running is -2; it must be 0 (none) or more"},
      {[](auto* t) { t->max_queued = -3; },
       "tenant research: max_queued is -3; it must be 0 (none) or more"},
      {[](auto* t) { t->max_queued_tokens = -4; },
       "tenant research: max_queued_tokens is -4; it must be 0 (none) or more"},
      {[](auto* t) { t->kv_reserved_bytes = -5; },
       "tenant research: kv_reserved is -5; it must be 0 (none) or more"},
      {[](auto* t) { t->kv_limit_bytes = -6; },
       "tenant research: kv_limit is -6; it must be 0 (none) or more"},
      {[](auto* t) { t->prefix_floor_bytes = -7; },
       "tenant research: prefix_cache_floor is -7; it must be 0 (none) or more"},
      {[](auto* t) { t->prefix_ceiling_bytes = -8; },
       "tenant research: prefix_cache_ceiling is -8; it must be 0 (none) or more"},
      {[](auto* t) { t->tokens_per_second = -9; },
       "tenant research: tokens_per_second is -9; it must be 0 (none) or more"},
      {[inf](auto* t) { t->tokens_per_second = inf; },
       "tenant research: tokens_per_second is inf; it must be 0 (none) or more"},
      {[](auto* t) { t->burst_tokens = -1; },
       "tenant research: burst_tokens is -1; it must be 0 (none) or more"},
      {[nan](auto* t) { t->burst_tokens = nan; },
       "tenant research: burst_tokens is nan; it must be 0 (none) or more"},
      {[](auto* t) { t->max_priority = 10'001; }, "max_priority 10001 is more than 10000"},
      {[](auto* t) {
         t->kv_reserved_bytes = 11;
         t->kv_limit_bytes = 10;
       },
       "kv_reserved 11 is more than kv_limit 10"},
      {[](auto* t) {
         t->prefix_floor_bytes = 11;
         t->prefix_ceiling_bytes = 10;
       },
       "prefix_cache_floor 11 is more than prefix_cache_ceiling 10"},
  };
  for (const auto& c : cases) {
    TenantPolicy bad = Named("research");
    c.change(&bad);
    const absl::Status status = ValidateTenants({Named("good"), bad});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr("tenant research: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(TenantPolicyTest, WhatIsSetAsideMustFitTheKvCache) {
  TenantTable tenants = {Named("a"), Named("b")};
  tenants[0].kv_reserved_bytes = 1;
  tenants[1].kv_reserved_bytes = 2;
  tenants[1].prefix_floor_bytes = 4;
  EXPECT_TRUE(CheckReserves(tenants, 7).ok());
  EXPECT_THAT(std::string(CheckReserves(tenants, 6).message()),
              HasSubstr("the KV cache of 6 bytes; lower them"));
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  tenants[0].kv_reserved_bytes = tenants[1].kv_reserved_bytes = kMost;
  EXPECT_FALSE(CheckReserves(tenants, kMost).ok());
}

TEST(TenantPolicyTest, ThereIsATenantAndEachHasAName) {
  EXPECT_EQ(ValidateTenants({}).message(), "there is no tenant");
  EXPECT_EQ(ValidateTenants({Named("a"), Named("")}).message(), "a tenant has no name");
}

}  // namespace
}  // namespace quire
