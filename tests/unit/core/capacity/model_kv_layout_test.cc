#include "core/capacity/model_kv_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig Shape(std::vector<int32_t> kv_groups, int32_t head_dim) {
  ModelConfig config;
  config.num_layers = static_cast<int32_t>(kv_groups.size());
  config.kv_groups = std::move(kv_groups);
  config.head_dim = head_dim;
  config.num_heads = 32;
  return config;
}

TEST(ModelKvLayoutTest, ABlockHoldsTheKAndVOfEveryLayersOwnGroups) {
  const KvLayout layout = MakeKvLayout(Shape({8, 1, 4}, 64), 16, kernels::DType::kBF16);
  ASSERT_EQ(layout.layers.size(), 3u);
  EXPECT_EQ(layout.LayerBytes(0), 16u * 2 * 8 * 64 * 2);
  EXPECT_EQ(layout.LayerBytes(1), 16u * 2 * 1 * 64 * 2);
  EXPECT_EQ(layout.BlockBytes(), 16u * 2 * (8 + 1 + 4) * 64 * 2);
}

TEST(ModelKvLayoutTest, BlockBytesGrowInProportionToTheKvGroups) {
  const size_t mqa = MakeKvLayout(Shape({1, 1}, 128), 16, kernels::DType::kBF16).BlockBytes();
  for (int32_t groups : {2, 4, 8, 16, 32}) {
    const KvLayout layout = MakeKvLayout(Shape({groups, groups}, 128), 16, kernels::DType::kBF16);
    EXPECT_EQ(layout.BlockBytes(), mqa * static_cast<size_t>(groups)) << groups << " groups";
  }
}

TEST(ModelKvLayoutTest, TheKvTypeDecidesTheBytesOfAnElement) {
  const ModelConfig config = Shape({4, 4}, 64);
  const KvLayout f32 = MakeKvLayout(config, 32, kernels::DType::kF32);
  const KvLayout bf16 = MakeKvLayout(config, 32, kernels::DType::kBF16);
  EXPECT_EQ(f32.block_tokens, 32);
  EXPECT_EQ(f32.BlockBytes(), 2 * bf16.BlockBytes());
  const KvLayout fp8 = MakeKvLayout(config, 32, kernels::DType::kF8E4M3);
  EXPECT_EQ(fp8.BlockBytes(), 2u * 32 * 2 * 4 * (64 + 4));
}

TEST(ModelKvLayoutTest, AWindowThatNoContextOutgrowsMakesNoClass) {
  ModelConfig config = Shape({4, 4, 4}, 64);
  config.max_positions = 4096;
  config.windows = {1024, 0, 1024};
  const auto windows = [&](int32_t context_tokens) {
    std::vector<int32_t> of_classes;
    for (const KvLayout& layout :
         MakeKvLayouts(config, 16, kernels::DType::kBF16, context_tokens)) {
      of_classes.push_back(layout.window);
    }
    return of_classes;
  };
  EXPECT_THAT(windows(0), ElementsAre(0, 1024));
  EXPECT_THAT(windows(1025), ElementsAre(0, 1024));
  EXPECT_THAT(windows(1024), ElementsAre(0));
  config.windows = {4096, 4096, 4096};
  EXPECT_THAT(windows(0), ElementsAre(0));
}

TEST(ModelKvLayoutTest, BlockSizesAreMultiplesOf16ThatDivideTheAttentionSplit) {
  for (int32_t tokens : {16, 32, 64, 128, 256, 512}) {
    EXPECT_TRUE(ValidateBlockTokens(tokens).ok()) << tokens;
  }
  for (int32_t tokens : {-16, 0, 1, 8, 15, 17, 48, 80, 384, 496, 1024}) {
    const absl::Status status = ValidateBlockTokens(tokens);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << tokens;
    EXPECT_THAT(std::string(status.message()), HasSubstr("16, 32, 64, 128, 256, 512")) << tokens;
  }
}

TEST(ModelKvLayoutTest, KvHasTheTypeOfTheComputationUnlessTheDevicesNarrowOneIsWanted) {
  using kernels::DType;
  const struct {
    std::optional<DType> wanted;
    DType compute;
    DType narrow;
    const char* reason;  // null: taken
  } cases[] = {
      {std::nullopt, DType::kF32, DType::kInt8, nullptr},
      {std::nullopt, DType::kBF16, DType::kF8E4M3, nullptr},
      {DType::kBF16, DType::kBF16, DType::kInt8, nullptr},
      {DType::kF8E4M3, DType::kBF16, DType::kF8E4M3, nullptr},
      {DType::kInt8, DType::kBF16, DType::kInt8, nullptr},
      {DType::kInt8, DType::kF32, DType::kInt8, nullptr},
      {DType::kF8E4M3, DType::kBF16, DType::kInt8,
       "no KV cache in fp8_e4m3; use --kv-dtype int8 or auto"},
      {DType::kInt8, DType::kBF16, DType::kF8E4M3,
       "no KV cache in int8; use --kv-dtype fp8_e4m3 or auto"},
      {DType::kF32, DType::kBF16, DType::kInt8, "this one computes in bf16; use --kv-dtype auto"},
      {DType::kBF16, DType::kF32, DType::kInt8,
       "a KV cache in bf16 needs a model that computes in it"},
  };
  for (const auto& c : cases) {
    const auto chosen = ChooseKvDType(c.wanted, c.compute, c.narrow);
    if (c.reason == nullptr) {
      EXPECT_EQ(chosen.value(), c.wanted.value_or(c.compute));
      continue;
    }
    EXPECT_EQ(chosen.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(chosen.status().message()), HasSubstr(c.reason));
  }
}

}  // namespace
}  // namespace quire
