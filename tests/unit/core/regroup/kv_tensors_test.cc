#include "core/regroup/kv_tensors.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/regroup/tiny_checkpoint.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDir;
using testing::TinyModel;

ModelConfig ConfigWith(std::vector<int32_t> kv_groups) {
  ModelConfig config;
  config.num_layers = static_cast<int32_t>(kv_groups.size());
  config.num_heads = 12;
  config.kv_groups = std::move(kv_groups);
  return config;
}

std::string Refusal(const ModelConfig& config, int32_t groups,
                    const std::vector<int32_t>& per_layer = {}) {
  const auto chosen = ChooseGroups(config, groups, per_layer);
  EXPECT_TRUE(absl::IsInvalidArgument(chosen.status())) << chosen.status();
  return std::string(chosen.status().message());
}

TEST(ChooseGroups, GivesEveryLayerWithAttentionTheSame) {
  EXPECT_THAT(*ChooseGroups(ConfigWith({12, 6, 4}), 2, {}), ElementsAre(2, 2, 2));
  EXPECT_THAT(*ChooseGroups(ConfigWith({12, 0, 2}), 2, {}), ElementsAre(2, 0, 2));
}

TEST(ChooseGroups, TakesThemLayerByLayer) {
  EXPECT_THAT(*ChooseGroups(ConfigWith({12, 6, 4}), 0, std::vector<int32_t>{3, 6, 1}),
              ElementsAre(3, 6, 1));
  EXPECT_THAT(*ChooseGroups(ConfigWith({12, 0}), 0, std::vector<int32_t>{1, 0}), ElementsAre(1, 0));
}

TEST(ChooseGroups, SaysWhichNumbersWouldDo) {
  EXPECT_THAT(Refusal(ConfigWith({12, 12}), 5),
              HasSubstr("layer 0 has 12 KV groups, which cannot be merged into 5; it can have 1, "
                        "2, 3, 4, 6, 12"));
  EXPECT_THAT(Refusal(ConfigWith({12, 4}), 6), HasSubstr("layer 1 has 4 KV groups"));
  EXPECT_THAT(Refusal(ConfigWith({12, 4}), 6), HasSubstr("one by one"));
  EXPECT_THAT(Refusal(ConfigWith({12}), 24), HasSubstr("cannot be merged into 24"));
  EXPECT_THAT(Refusal(ConfigWith({12}), -1), HasSubstr("cannot be merged into -1"));
  EXPECT_THAT(Refusal(ConfigWith({12, 12}), 0, {6, 0}), HasSubstr("layer 1 has 12 KV groups"));
  EXPECT_THAT(Refusal(ConfigWith({12, 0}), 0, {6, 1}), HasSubstr("layer 1 has no attention"));
  EXPECT_THAT(Refusal(ConfigWith({12, 12}), 0, {6}), HasSubstr("2 layers, but KV groups are given "
                                                               "for 1"));
  EXPECT_THAT(Refusal(ConfigWith({4, 4}), 4), HasSubstr("nothing would change"));
}

class FindKvTensorsTest : public ::testing::Test {
 protected:
  absl::StatusOr<KvTensors> Find(const TinyModel& model, const std::vector<int32_t>& groups) {
    model.Write(dir_);
    const auto config = LoadModelConfig(dir_.path());
    EXPECT_TRUE(config.ok()) << config.status();
    if (!config.ok()) return config.status();
    const auto checkpoint = Checkpoint::Open(dir_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    if (!checkpoint.ok()) return checkpoint.status();
    return FindKvTensors(*config, *checkpoint, groups);
  }
  std::string RefusalOf(const TinyModel& model) {
    const auto found = Find(model, {1, 1});
    EXPECT_TRUE(absl::IsInvalidArgument(found.status())) << found.status();
    return std::string(found.status().message());
  }
  static TinyModel Llama() { return TinyModel::Make(1, "LlamaForCausalLM", "BF16", 4); }

  TempDir dir_;
};

constexpr char kKey[] = "model.layers.1.self_attn.k_proj.weight";

TEST_F(FindKvTensorsTest, FindsKAndVOfTheLayersThatChange) {
  const auto found = Find(Llama(), {4, 2});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 2u);
  EXPECT_TRUE(found->contains("model.layers.1.self_attn.v_proj.weight"));
  const KvTensor& key = found->at(kKey);
  EXPECT_EQ(key.leading_rows, 0);
  EXPECT_EQ(key.parts, 1);
  EXPECT_EQ(key.RowsWith(key.groups_before), 64);
  EXPECT_EQ(key.RowsWith(key.groups_after), 32);
}

TEST_F(FindKvTensorsTest, FindsBiasesAndGivesEachTensorAnIdOfItsOwn) {
  const auto found = Find(TinyModel::Make(1, "Qwen2ForCausalLM", "BF16", 4), {2, 2});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->size(), 8u);
  std::set<uint64_t> ids;
  for (const auto& [name, tensor] : *found) ids.insert(tensor.id);
  EXPECT_EQ(ids.size(), 8u);
}

TEST_F(FindKvTensorsTest, FindsKAndVBehindQWhereTheyAreStacked) {
  const auto found = Find(TinyModel::Make(1, "Phi3ForCausalLM", "BF16", 4), {1, 4});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 1u);
  const KvTensor& stacked = found->at("model.layers.0.self_attn.qkv_proj.weight");
  EXPECT_EQ(stacked.leading_rows, 64);
  EXPECT_EQ(stacked.parts, 2);
  EXPECT_EQ(stacked.RowsWith(stacked.groups_after), 64 + 2 * 16);
}

TEST_F(FindKvTensorsTest, RefusesWhatIsNotAsTheConfigurationSays) {
  TinyModel model = Llama();
  model.tensors.erase(kKey);
  EXPECT_THAT(RefusalOf(model), HasSubstr(std::string("lacks tensor '") + kKey +
                                          "' of shape [64, "
                                          "24]"));
  model = Llama();
  model.tensors[kKey].shape = {24, 64};
  EXPECT_THAT(RefusalOf(model), HasSubstr("has shape [24, 64] in the checkpoint, but config.json "
                                          "makes it [64, 24]"));
  model = Llama();
  model.tensors[kKey].dtype = "I16";
  EXPECT_THAT(RefusalOf(model), HasSubstr("has type I16; F32, F16 and BF16 can be regrouped"));
  model = TinyModel::Make(1, "Qwen2ForCausalLM", "BF16", 4);
  model.tensors.erase("model.layers.0.self_attn.v_proj.bias");
  EXPECT_THAT(RefusalOf(model), HasSubstr("lacks tensor 'model.layers.0.self_attn.v_proj.bias'"));
}

// A bias that config.json does not know of, the scale of a quantized matrix, an adapter.
TEST_F(FindKvTensorsTest, RefusesOtherTensorsOfTheSameProjections) {
  for (const char* other : {"bias", "weight_scale", "lora_A.weight"}) {
    TinyModel model = Llama();
    model.tensors[std::string("model.layers.0.self_attn.v_proj.") + other] = {"F32", {1}, "0000"};
    EXPECT_THAT(RefusalOf(model), HasSubstr(std::string("v_proj.") + other +
                                            "' belongs to a "
                                            "projection"));
  }
}

}  // namespace
}  // namespace quire
