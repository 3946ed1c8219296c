#include "server/cli/plan_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace quire::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kGiB = int64_t{1} << 30;

ModelConfig Llama8b() { return *NamedModelShape("llama-3.1-8b"); }

CapacityQuestion Question() {
  return {.memory_bytes = 16 * kGiB,
          .kv_groups = {32, 1},
          .kv_dtypes = {kernels::DType::kBF16},
          .block_tokens = {16},
          .context_tokens = {2048, 131072}};
}

Plan MakePlan(const ModelConfig& config, const CapacityQuestion& question,
              const std::vector<PlanBudget>& budgets = {}) {
  Plan plan;
  plan.config = config;
  plan.question = question;
  plan.rows = *PlanCapacity(config, question);
  plan.budgets = budgets;
  return plan;
}

std::string Print(const Plan& plan) {
  std::ostringstream out;
  PrintPlan(plan, out);
  return out.str();
}

TEST(PlanReportTest, ARowForEachNumberOfGroupsWithTheModelsOwnMarked) {
  const std::string text = Print(MakePlan(Llama8b(), Question()));
  EXPECT_THAT(text, HasSubstr("A KV cache of 16 GiB, beside weights of 15 GiB"));
  EXPECT_THAT(text, HasSubstr(R"(
KV groups   KV type  block  KV a token  KV cache  KV a block  blocks   tokens  at 2048  at 131072
  32 (MHA)     bf16     16     512 KiB    16 GiB       8 MiB    2048    32768       16          0
* 8            bf16     16     128 KiB    16 GiB       2 MiB    8192   131072       64          1
  1 (MQA)      bf16     16      16 KiB    16 GiB     256 KiB   65536  1048576      512          8
)"));
}

TEST(PlanReportTest, WithSeveralClassesBlocksDependOnWhatRuns) {
  ModelConfig config = Llama8b();
  config.windows.assign(32, 0);
  config.windows[5] = 1024;
  const std::string text = Print(MakePlan(config, Question()));
  EXPECT_THAT(text, Not(HasSubstr("blocks")));
  EXPECT_THAT(text, HasSubstr("at 131072"));
}

TEST(PlanReportTest, BudgetsHoldWholeSequences) {
  const std::string text =
      Print(MakePlan(Llama8b(), Question(), {{"gold", kGiB}, {"free", 255 << 20}}));
  EXPECT_THAT(text, HasSubstr("gold      1 GiB        4          0"));
  EXPECT_THAT(text, HasSubstr("free    255 MiB        0          0"));
}

TEST(PlanReportTest, StepsThatArePredictedAreColumns) {
  Plan plan = MakePlan(Llama8b(), Question());
  plan.steps = {{.batch = 1, .context = 512}, {.batch = 16, .context = 2048}};
  plan.step_seconds = {{0.0501, 1.5}, {0.05, 0.25}, {0, 0}};
  const std::string text = Print(plan);
  EXPECT_THAT(text, HasSubstr("step 1x512  step 16x2048"));
  EXPECT_THAT(text, HasSubstr("    50.1 ms     1500.0 ms\n"));
  EXPECT_THAT(text, HasSubstr("          -             -\n"));
}

TEST(PlanReportTest, JsonHasTheSizesThatTheTablesShow) {
  Plan plan = MakePlan(Llama8b(), Question(), {{"gold", kGiB}});
  plan.steps = {{.batch = 16, .context = 2048}};
  plan.step_seconds = {{0.5}, {0.25}, {0}};
  const nlohmann::ordered_json json = PlanJson(plan);
  ASSERT_EQ(json["rows"].size(), 3u);
  const nlohmann::ordered_json& own = json["rows"][1];
  EXPECT_EQ(own["own_groups"], true);
  EXPECT_EQ(own["kv_groups"].size(), 32u);
  EXPECT_EQ(own["kv_classes"][0]["block_bytes"], 2 << 20);
  EXPECT_EQ(own["kv_classes"][0]["blocks"], 8192);
  EXPECT_EQ(own["kv_bytes"], 16 * kGiB);
  EXPECT_EQ(own["capacity"][0]["sequences"], 64);
  EXPECT_EQ(own["decode_steps"][0]["batch"], 16);
  EXPECT_EQ(own["decode_steps"][0]["seconds"], 0.25);
  EXPECT_TRUE(json["rows"][2]["decode_steps"][0]["seconds"].is_null());
  EXPECT_EQ(json["budgets"][0]["capacity"][0]["sequences"], 4);
}

}  // namespace
}  // namespace quire::cli
