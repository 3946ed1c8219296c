#include "server/cli/kv_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace quire::cli {
namespace {

using ::testing::HasSubstr;

ModelConfig Shape(std::vector<int32_t> kv_groups) {
  ModelConfig config = *NamedModelShape("llama-3.1-8b");
  config.kv_groups = std::move(kv_groups);
  config.num_layers = static_cast<int32_t>(config.kv_groups.size());
  return config;
}

TEST(KvReportTest, AttentionIsNamedByItsNumberOfKvGroups) {
  EXPECT_EQ(DescribeAttention(Shape({8, 8})),
            "GQA: 32 query heads, 8 KV groups, 4 query heads per group (MHA = 32, MQA = 1)");
  EXPECT_EQ(DescribeAttention(Shape({32, 32})),
            "MHA: 32 query heads, 32 KV groups, 1 query head per group (MHA = 32, MQA = 1)");
  EXPECT_EQ(DescribeAttention(Shape({1, 1})),
            "MQA: 32 query heads, 1 KV group, 32 query heads per group (MHA = 32, MQA = 1)");
  EXPECT_EQ(DescribeAttention(Shape({4, 16})),
            "GQA: 32 query heads, 4 to 16 KV groups, 2 to 8 query heads per group "
            "(MHA = 32, MQA = 1)");
}

TEST(KvReportTest, Llama8bTakes128KibATokenAnd2MibABlock) {
  const ModelConfig config = *NamedModelShape("llama-3.1-8b");
  const KvLayouts layouts = MakeKvLayouts(config, 16, kernels::DType::kBF16);
  std::ostringstream out;
  PrintModel(config, layouts, out);
  EXPECT_THAT(out.str(), HasSubstr("KV per token   128 KiB  = 32 layers x K and V x 8 groups"));
  EXPECT_THAT(out.str(), HasSubstr("KV per block   2 MiB for 16 tokens"));
}

TEST(KvReportTest, Fp8NamesItsScales) {
  const ModelConfig config = *NamedModelShape("llama-3.1-8b");
  const KvLayouts layouts = MakeKvLayouts(config, 16, kernels::DType::kF8E4M3);
  std::ostringstream out;
  PrintModel(config, layouts, out);
  EXPECT_THAT(out.str(), HasSubstr("KV per token   66 KiB  = 32 layers x K and V x 8 groups x "
                                   "(128 x 1 byte + 4 of scale) (fp8_e4m3)"));
  EXPECT_EQ(ModelJson(config, layouts)["kv_dtype"], "fp8_e4m3");
}

TEST(KvReportTest, JsonHasTheSizesThatTheTablesShow) {
  const ModelConfig config = *NamedModelShape("llama-3.1-8b");
  const KvLayouts layouts = MakeKvLayouts(config, 16, kernels::DType::kBF16);
  const nlohmann::ordered_json json = ModelJson(config, layouts);
  EXPECT_EQ(json["attention"], "GQA");
  ASSERT_EQ(json["kv_classes"].size(), 1u);
  EXPECT_EQ(json["kv_classes"][0]["block_bytes"], 2 << 20);
  EXPECT_EQ(json["kv_classes"][0]["token_bytes"], 131072);
}

}  // namespace
}  // namespace quire::cli
