#include "server/rpc/capacity_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/capacity/model_kv_layout.h"

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

class CapacityCodecTest : public ::testing::Test {
 protected:
  CapacityCodecTest() {
    TenantSettings gold, free;
    gold.policy.name = "gold";
    gold.policy.kv_reserved_bytes = kGiB;
    gold.policy.kv_limit_bytes = 2 * kGiB;
    free.policy.name = "free";
    free.policy.kv_limit_bytes = 1 << 20;
    tenants_.entries = {{}, {.settings = gold}, {.settings = free}};
  }

  ServedCapacity Served() const {
    return {.config = &config_,
            .layouts = &layouts_,
            .kv_bytes = 4 * kGiB,
            .max_context_tokens = 8192,
            .in_flight_tokens = 512};
  }
  v1::PlanCapacityResponse Answer(const v1::PlanCapacityRequest& request) const {
    auto answer = AnswerPlanCapacity(request, Served(), tenants_);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : v1::PlanCapacityResponse();
  }
  std::string Complaint(const v1::PlanCapacityRequest& request) const {
    const auto answer = AnswerPlanCapacity(request, Served(), tenants_);
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(answer.status().message());
  }

  const ModelConfig config_ = *NamedModelShape("llama-3.2-1b");
  const KvLayouts layouts_ = MakeKvLayouts(config_, 32, kernels::DType::kBF16, 8192);
  TenantRoster tenants_;
};

TEST_F(CapacityCodecTest, AnEmptyQuestionIsAboutTheServerAndTheWholeDial) {
  const v1::PlanCapacityResponse answer = Answer({});
  EXPECT_EQ(answer.model(), "llama-3.2-1b");
  EXPECT_EQ(answer.query_heads(), 32u);
  EXPECT_THAT(answer.context_tokens(), ElementsAre(128u, 512u, 2048u, 8192u));
  ASSERT_EQ(answer.rows_size(), 6);
  for (int i = 0; i < 6; ++i) {
    const v1::CapacityRow& row = answer.rows(i);
    const uint32_t groups = 32u >> i;
    EXPECT_EQ(row.kv_groups(15), groups);
    EXPECT_EQ(row.served(), groups == 8);
    EXPECT_EQ(row.block_tokens(), 32u);
    EXPECT_EQ(row.kv_dtype(), "bf16");
    EXPECT_EQ(row.token_bytes(), 4096u * groups);
    EXPECT_EQ(row.kv_bytes(), 4u * kGiB);
    ASSERT_EQ(row.classes_size(), 1);
    EXPECT_EQ(row.classes(0).block_bytes(), 32 * 4096u * groups);
    EXPECT_EQ(row.classes(0).blocks(), 32768u / groups);
    EXPECT_EQ(row.sequences(3), 128u / groups);
  }
}

TEST_F(CapacityCodecTest, OtherTypesAndBlockSizesAreNotTheServers) {
  v1::PlanCapacityRequest request;
  request.set_kv_bytes(kGiB);
  request.add_kv_groups(8);
  request.add_kv_dtypes("fp8_e4m3");
  request.add_kv_dtypes("bf16");
  request.add_block_tokens(16);
  request.add_block_tokens(32);
  request.add_context_tokens(1000);
  const v1::PlanCapacityResponse answer = Answer(request);
  ASSERT_EQ(answer.rows_size(), 4);
  EXPECT_EQ(answer.rows(0).token_bytes(), 2u * 16 * 8 * (64 + 4));
  EXPECT_FALSE(answer.rows(0).served());
  EXPECT_FALSE(answer.rows(2).served());
  EXPECT_TRUE(answer.rows(3).served());
  EXPECT_EQ(answer.rows(3).sequences(0), 32u) << "999 tokens take 32 blocks of 1 MiB";
}

TEST_F(CapacityCodecTest, TenantsWithABudgetSeeWhatItHolds) {
  const v1::PlanCapacityResponse answer = Answer({});
  ASSERT_EQ(answer.tenants_size(), 2);
  EXPECT_EQ(answer.tenants(0).id(), 1u);
  EXPECT_EQ(answer.tenants(0).name(), "gold");
  EXPECT_THAT(answer.tenants(0).reserved_sequences(), ElementsAre(256u, 64u, 16u, 4u));
  EXPECT_THAT(answer.tenants(0).limit_sequences(), ElementsAre(512u, 128u, 32u, 8u));
  EXPECT_THAT(answer.tenants(1).reserved_sequences(), ElementsAre(0u, 0u, 0u, 0u));
  EXPECT_THAT(answer.tenants(1).limit_sequences(), ElementsAre(0u, 0u, 0u, 0u));
}

TEST_F(CapacityCodecTest, QuestionsWithoutAnAnswerAreRefused) {
  v1::PlanCapacityRequest request;
  request.add_kv_groups(5);
  EXPECT_THAT(Complaint(request), HasSubstr("32, 16, 8, 4, 2, 1"));
  request.Clear();
  request.add_kv_groups(0xffffffffu);
  EXPECT_THAT(Complaint(request), HasSubstr("kv_groups"));
  request.Clear();
  for (int i = 0; i < 65; ++i) request.add_kv_groups(8);
  EXPECT_THAT(Complaint(request), HasSubstr("65 are more than 64"));
  request.Clear();
  request.add_kv_dtypes("int3");
  EXPECT_THAT(Complaint(request), HasSubstr("\"int3\" is none of"));
  request.Clear();
  for (int i = 0; i < 9; ++i) request.add_kv_dtypes("bf16");
  EXPECT_THAT(Complaint(request), HasSubstr("9 are more than 8"));
  request.Clear();
  request.add_context_tokens(8193);
  EXPECT_THAT(Complaint(request), HasSubstr("context_tokens"));
  request.Clear();
  request.add_block_tokens(48);
  EXPECT_THAT(Complaint(request), HasSubstr("choose one of"));
  request.Clear();
  request.set_kv_bytes(0);
  EXPECT_THAT(Complaint(request), HasSubstr("above 0"));
  request.set_kv_bytes(UINT64_MAX);
  EXPECT_LE(Answer(request).rows(0).kv_bytes(), uint64_t{1} << 40) << "block offsets reach 1 TiB";
}

}  // namespace
}  // namespace quire::server
