#include "core/regroup/regroup.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_logits.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/model_fixture.h"
#include "tests/support/temp_dir.h"

// Every architecture: a model whose K and V heads are the same within each group computes the same
// with its heads merged, bit for bit. Such a model is made from a golden one by giving every query
// head its own copy of the K and V that it uses, so regrouping must bring back the golden one.

namespace quire::testing {
namespace {

using kernels::DType;
using nlohmann::json;

constexpr uint32_t kSeed = 20240611;

json ReadConfig(const std::string& dir) { return json::parse(std::ifstream(dir + "/config.json")); }

// `config` with as many KV groups as query heads.
json MhaConfig(json config, const ModelConfig& shape) {
  if (config.contains("num_kv_heads")) {
    config["num_kv_heads"] = config["num_query_heads"];
  } else if (config.contains("block_configs")) {
    for (json& block : config["block_configs"]) {
      json& heads_in_group = block["attention"]["n_heads_in_group"];
      if (!heads_in_group.is_null()) heads_in_group = 1;
    }
  } else if (config.contains("num_key_value_heads_per_layer")) {
    for (json& groups : config["num_key_value_heads_per_layer"]) groups = shape.num_heads;
  } else {
    config["num_key_value_heads"] = shape.num_heads;
  }
  return config;
}

// Repeats each head `times` times.
std::string Repeated(const std::string& heads, int32_t groups, int32_t times) {
  const size_t bytes = heads.size() / static_cast<size_t>(groups);
  std::string result;
  for (size_t group = 0; group < static_cast<size_t>(groups); ++group) {
    for (int32_t i = 0; i < times; ++i) result.append(heads, group * bytes, bytes);
  }
  return result;
}

void RepeatHeads(const ModelConfig& config, int32_t layer, StoredTensors* tensors) {
  const LayerShape shape = config.Layer(layer);
  if (shape.kv_groups == 0) return;
  const int32_t times = shape.num_heads / shape.kv_groups;
  const auto rows = static_cast<size_t>(shape.kv_groups * config.head_dim);
  const auto q_rows = static_cast<size_t>(shape.num_heads * config.head_dim);
  for (size_t i = 0; i < config.tensors.qkv.size(); ++i) {
    const bool stacked = config.tensors.qkv.size() == 1;
    if (!stacked && i == 0) continue;
    for (const char* kind : {".weight", ".bias"}) {
      const auto found = tensors->find(
          absl::StrCat(config.tensors.layers, layer, ".", config.tensors.qkv[i], kind));
      if (found == tensors->end()) continue;
      StoredTensor& tensor = found->second;
      const size_t row_bytes = tensor.data.size() / static_cast<size_t>(tensor.shape[0]);
      std::string data = stacked ? tensor.data.substr(0, q_rows * row_bytes) : "";
      for (size_t at = data.size(); at < tensor.data.size(); at += rows * row_bytes) {
        data += Repeated(tensor.data.substr(at, rows * row_bytes), shape.kv_groups, times);
      }
      tensor.data = data;
      tensor.shape[0] = static_cast<int64_t>(data.size() / row_bytes);
    }
  }
}

ModelConfig MustLoad(const std::string& dir) {
  const auto config = LoadModelConfig(dir);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig();
}

std::vector<float> Logits(const std::string& dir, DType compute) {
  ModelFixture fixture({.model_dir = dir, .compute = compute});
  std::mt19937 random(kSeed);
  std::vector<TokenId> prompt(60);
  for (TokenId& id : prompt) {
    id = static_cast<TokenId>(random() % static_cast<uint32_t>(fixture.config().vocab_size));
  }
  return fixture.Step({{.sequence = 0, .tokens = prompt}});
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Those whose heads share groups.
std::vector<std::string> GroupedModels() {
  std::vector<std::string> models = GoldenModels();
  std::erase(models, "mha");
  std::erase(models, "phi3_longrope_short");
  return models;
}

class RegroupGoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = GoldenModelDir(GetParam());
    config_ = MustLoad(golden_);
    StoredTensors tensors = ReadTensors(golden_);
    for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
      RepeatHeads(config_, layer, &tensors);
    }
    mha_.Write("config.json", MhaConfig(ReadConfig(golden_), config_).dump(2));
    mha_.Write("model.safetensors", SafetensorsFile(tensors));
    ASSERT_NE(config_.kv_groups, MustLoad(mha_.path()).kv_groups);
  }
  // Writes to out_.
  void MustRegroup(const std::vector<int32_t>& groups) {
    const auto result = Regroup(
        {.model_dir = mha_.path(), .output_dir = out_.path(), .groups_per_layer = groups}, nullptr);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(MustLoad(out_.path()).kv_groups, groups);
  }

  std::string golden_;
  ModelConfig config_;
  const TempDir mha_, out_;
};

INSTANTIATE_TEST_SUITE_P(Models, RegroupGoldenTest, ::testing::ValuesIn(GroupedModels()),
                         [](const auto& suite) {
                           std::string name = suite.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(RegroupGoldenTest, BringsBackTheModelThatHeadsWereCopiedFrom) {
  MustRegroup(config_.kv_groups);
  EXPECT_TRUE(ReadTensors(out_.path()) == ReadTensors(golden_));
  json expected = ReadConfig(golden_);
  const json written = ReadConfig(out_.path());
  // A ratio that OpenELM's golden has, and its layers do not.
  if (expected.contains("num_gqa_groups")) expected["num_gqa_groups"] = nullptr;
  EXPECT_EQ(written, expected);
}

TEST_P(RegroupGoldenTest, ComputesTheSameLogits) {
  MustRegroup(config_.kv_groups);
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    EXPECT_TRUE(SameBits(Logits(out_.path(), compute), Logits(mha_.path(), compute)))
        << kernels::DTypeName(compute);
  }
}

// Every other layer keeps its heads, so that layers differ.
TEST_P(RegroupGoldenTest, ComputesTheSameLogitsWithGroupsThatDiffer) {
  std::vector<int32_t> groups = config_.kv_groups;
  const ModelConfig mha = MustLoad(mha_.path());
  for (size_t layer = 1; layer < groups.size(); layer += 2) groups[layer] = mha.kv_groups[layer];
  MustRegroup(groups);
  EXPECT_TRUE(SameBits(Logits(out_.path(), DType::kF32), Logits(mha_.path(), DType::kF32)));
}

// With heads that do differ the logits move, and stay numbers.
TEST(RegroupGolden, ChangesWhatAModelOfDifferentHeadsComputes) {
  const TempDir out;
  const std::string mha = GoldenModelDir("mha");
  for (const PoolMethod method : {PoolMethod::kMean, PoolMethod::kFirst, PoolMethod::kRandom}) {
    const std::string dir = out.File(PoolMethodName(method));
    const auto result =
        Regroup({.model_dir = mha, .output_dir = dir, .groups = 1, .method = method}, nullptr);
    ASSERT_TRUE(result.ok()) << result.status();
    const std::vector<float> logits = Logits(dir, DType::kF32);
    EXPECT_FALSE(SameBits(logits, Logits(mha, DType::kF32)));
    for (const float logit : logits) ASSERT_TRUE(std::isfinite(logit));
  }
}

}  // namespace
}  // namespace quire::testing
