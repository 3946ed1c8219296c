#include "core/capacity/capacity_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/capacity/group_dial.h"
#include "core/capacity/model_kv_layout.h"

namespace quire {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

ModelConfig Llama1b() { return *NamedModelShape("llama-3.2-1b"); }

CapacityQuestion Question() {
  return {.memory_bytes = kGiB,
          .kv_dtypes = {kernels::DType::kBF16},
          .block_tokens = {16},
          .context_tokens = {2048}};
}

std::string Complaint(const CapacityQuestion& question) {
  return std::string(PlanCapacity(Llama1b(), question).status().message());
}

TEST(GroupDialTest, GoesFromMhaToMqaOverTheDivisorsOfTheHeads) {
  ModelConfig config = Llama1b();
  EXPECT_THAT(GroupCounts(config), ElementsAre(32, 16, 8, 4, 2, 1));
  config.num_heads = 12;
  EXPECT_THAT(GroupCounts(config), ElementsAre(12, 6, 4, 3, 2, 1));
}

TEST(GroupDialTest, DividesTheHeadsOfEveryLayerThatHasAttention) {
  ModelConfig config = Llama1b();
  config.num_layers = 3;
  config.layer_heads = {12, 32, 8};
  config.kv_groups = {3, 0, 4};
  EXPECT_THAT(GroupCounts(config), ElementsAre(4, 2, 1));
  const auto changed = WithKvGroups(config, 2);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_THAT(changed->kv_groups, ElementsAre(2, 0, 2));
  EXPECT_THAT(std::string(WithKvGroups(config, 3).status().message()), HasSubstr("4, 2, 1"));
}

TEST(CapacityPlannerTest, IntegerWeightsLeaveMoreOfTheMemoryToKv) {
  using kernels::WeightFormat;
  CapacityQuestion question = Question();
  question.memory_bytes = 3 * kGiB;
  question.weights_included = true;
  const auto weight_bytes = [&](WeightFormat format) {
    question.weights = format;
    const CapacityRow row = PlanCapacity(Llama1b(), question)->front();
    EXPECT_EQ(row.pool.bytes, PlanKvPool(row.classes, 3 * kGiB - row.weight_bytes).bytes);
    return row.weight_bytes;
  };
  // 1,235,814,400 elements, of which 262,668,288 in the table; at 65 / 64 and 35 / 64 bytes.
  EXPECT_EQ(weight_bytes(WeightFormat::kDense), 2471628800);
  EXPECT_EQ(weight_bytes(WeightFormat::kInt8), 1235814400 + 1235814400 / 64);
  EXPECT_EQ(weight_bytes(WeightFormat::kInt4), 266772480 + 973146112 / 64 * 35);
}

TEST(CapacityPlannerTest, BytesAreInProportionToTheGroups) {
  CapacityQuestion question = Question();
  question.kv_groups = GroupCounts(Llama1b());
  const auto rows = PlanCapacity(Llama1b(), question);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 6u);
  const size_t mqa = rows->back().classes[0].BlockBytes();
  int64_t last_weights = INT64_MAX;
  for (const CapacityRow& row : *rows) {
    const int32_t groups = row.kv_groups[0];
    EXPECT_THAT(row.kv_groups, Each(groups));
    EXPECT_EQ(row.classes[0].BlockBytes(), mqa * static_cast<size_t>(groups));
    EXPECT_EQ(row.pool.blocks[0], kGiB / static_cast<int64_t>(row.classes[0].BlockBytes()));
    EXPECT_EQ(row.own_groups, groups == 8);
    EXPECT_LT(row.weight_bytes, last_weights);
    last_weights = row.weight_bytes;
  }
  // 2 * 16 layers * 8 groups * 64 * 2 bytes = 32 KiB a token: 32768 tokens in a GiB.
  EXPECT_THAT((*rows)[2].sequences, ElementsAre(16));
  EXPECT_THAT((*rows)[5].sequences, ElementsAre(128));
}

TEST(CapacityPlannerTest, TheModelsOwnGroupsAreThereWhoeverElseIs) {
  CapacityQuestion question = Question();
  question.kv_groups = {1, 8, 1};
  question.kv_dtypes = {kernels::DType::kBF16, kernels::DType::kF32};
  question.block_tokens = {16, 64};
  const auto rows = PlanCapacity(Llama1b(), question);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 8u);
  EXPECT_TRUE((*rows)[3].own_groups);
  EXPECT_EQ((*rows)[3].classes[0].dtype, kernels::DType::kF32);
  EXPECT_EQ((*rows)[3].classes[0].block_tokens, 64);
  EXPECT_FALSE((*rows)[4].own_groups);
}

TEST(CapacityPlannerTest, AListOfGroupsByLayerIsItsOwnRow) {
  ModelConfig config = Llama1b();
  config.kv_groups[3] = 1;
  CapacityQuestion question = Question();
  question.kv_groups = {8, 4};
  const auto rows = PlanCapacity(config, question);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_FALSE((*rows)[0].own_groups);
  EXPECT_TRUE((*rows)[1].own_groups);
  EXPECT_EQ((*rows)[1].classes[0].TokenBytes(), 2u * (15 * 8 + 1) * 64 * 2);
}

TEST(CapacityPlannerTest, WeightsTakeTheirPartOfWhatIsTheirsToo) {
  CapacityQuestion question = Question();
  question.weights_included = true;
  question.memory_bytes = 3 * kGiB;
  question.kv_groups = {32, 1};
  const auto rows = PlanCapacity(Llama1b(), question);
  ASSERT_TRUE(rows.ok()) << rows.status();
  for (const CapacityRow& row : *rows) {
    EXPECT_EQ(row.pool.bytes, PlanKvPool(row.classes, 3 * kGiB - row.weight_bytes).bytes);
  }
  question.memory_bytes = kGiB;
  EXPECT_EQ(PlanCapacity(Llama1b(), question)->front().pool.bytes, 0) << "no room for the weights";
}

TEST(CapacityPlannerTest, DefaultContextsAreQuartersOfTheLongestDownTo16) {
  EXPECT_THAT(DefaultContexts(131072), ElementsAre(2048, 8192, 32768, 131072));
  EXPECT_THAT(DefaultContexts(64), ElementsAre(16, 64));
  EXPECT_THAT(DefaultContexts(1), ElementsAre(1));
}

TEST(CapacityPlannerTest, QuestionsWithoutAnAnswerAreRefused) {
  CapacityQuestion question = Question();
  question.memory_bytes = 0;
  EXPECT_THAT(Complaint(question), HasSubstr("above 0"));
  question = Question();
  question.block_tokens = {48};
  EXPECT_THAT(Complaint(question), HasSubstr("48"));
  question = Question();
  question.context_tokens = {131073};
  EXPECT_THAT(Complaint(question), HasSubstr("choose 1 to 131072"));
  question = Question();
  question.max_context_tokens = 1024;
  EXPECT_THAT(Complaint(question), HasSubstr("choose 1 to 1024"));
  question.max_context_tokens = 131073;
  EXPECT_THAT(Complaint(question), HasSubstr("131072 of this model"));
  question = Question();
  question.kv_groups = {5};
  EXPECT_THAT(Complaint(question), HasSubstr("32, 16, 8, 4, 2, 1"));
  question = Question();
  question.kv_dtypes.clear();
  EXPECT_THAT(Complaint(question), HasSubstr("at least one"));
}

}  // namespace
}  // namespace quire
