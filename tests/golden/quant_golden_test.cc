#include "tests/golden/quant_golden.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/gguf_matrix.h"
#include "core/model/quant_fp8.h"
#include "gtest/gtest.h"
#include "kernels/api/float_convert.h"
#include "tests/support/model_fixture.h"
#include "tests/support/temp_dir.h"

// Quantized checkpoints of each format against the formulas of an independent script, and the
// models in them against transformers on the dequantized weights.

namespace quire::testing {
namespace {

using kernels::DType;

constexpr float kRelativeError = 1e-4f;  // of float32 against float32, to the largest logit

std::vector<FetchedTensor> Fetched(const std::string& model, DType dequantized) {
  const auto config = LoadModelConfig(model);
  EXPECT_TRUE(config.ok()) << config.status();
  auto source = CheckpointSource::Open(model, dequantized);
  EXPECT_TRUE(source.ok()) << source.status();
  if (!config.ok() || !source.ok()) return {};
  auto tensors = FetchAll(*config, source->get());
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  return tensors.ok() ? *std::move(tensors) : std::vector<FetchedTensor>();
}

std::vector<float> Logits(const std::string& model, const std::vector<TokenId>& prompt) {
  ModelFixture fixture({.model_dir = model, .compute = DType::kF32, .max_context = 64});
  return fixture.Step({{.sequence = 0, .tokens = prompt}});
}

float RelativeError(const std::vector<float>& values, const std::vector<float>& expected) {
  if (values.size() != expected.size()) return INFINITY;
  float error = 0;
  float largest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) return INFINITY;
    error = std::max(error, std::fabs(values[i] - expected[i]));
    largest = std::max(largest, std::fabs(expected[i]));
  }
  return error / largest;
}

class QuantGoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  bool is_gguf() const { return std::string(GetParam()).starts_with("gguf"); }

  const std::string dir_ = QuantGoldenDir(GetParam());
  const QuantGolden golden_ = ReadQuantGolden(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Checkpoints, QuantGoldenTest,
                         ::testing::Values("gptq_int4", "gptq_int4_one_group",
                                           "gptq_v2_int4_act_order", "gptq_int8_act_order",
                                           "awq_int4", "fp8_tensor", "fp8_channel", "fp8_block",
                                           "gguf_f16", "gguf_bf16", "gguf_q8_0", "gguf_q4_0_groups",
                                           "gguf_qwen2", "gguf_qwen3", "gguf_gemma2",
                                           "gguf_gemma3"),
                         [](const auto& suite) { return std::string(suite.param); });

TEST_P(QuantGoldenTest, EveryTensorDequantizesToTheBitsOfTheReference) {
  size_t compared = 0;
  for (const FetchedTensor& tensor : Fetched(dir_, DType::kF32)) {
    const auto hash = golden_.hashes.find(tensor.spec.name);
    if (hash == golden_.hashes.end()) continue;  // stored plainly, in safetensors
    ++compared;
    const std::vector<float>& row = golden_.rows.at(tensor.spec.name);
    ASSERT_GE(tensor.values.size(), row.size());
    EXPECT_EQ(std::vector<float>(tensor.values.end() - static_cast<ptrdiff_t>(row.size()),
                                 tensor.values.end()),
              row)
        << tensor.spec.name;
    EXPECT_EQ(Fnv1a(tensor.values), hash->second) << tensor.spec.name;
  }
  EXPECT_EQ(compared, golden_.hashes.size());
}

TEST_P(QuantGoldenTest, DequantizingToBf16RoundsWhatF32Has) {
  const std::vector<FetchedTensor> exact = Fetched(dir_, DType::kF32);
  const std::vector<FetchedTensor> rounded = Fetched(dir_, DType::kBF16);
  ASSERT_EQ(exact.size(), rounded.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    std::vector<float> values = exact[i].values;
    if (rounded[i].dtype == DType::kBF16) {
      for (float& value : values) value = kernels::Bf16ToFloat(kernels::FloatToBf16(value));
    }
    EXPECT_EQ(rounded[i].values, values) << exact[i].spec.name;
  }
}

TEST_P(QuantGoldenTest, LogitsEqualThoseOfTransformersOnTheDequantizedWeights) {
  for (size_t i = 0; i < golden_.prompts.size(); ++i) {
    const std::vector<float> logits = Logits(dir_, golden_.prompts[i]);
    EXPECT_LE(RelativeError(logits, golden_.logits[i]), kRelativeError) << "prompt " << i;
  }
}

// The same model as an F32 checkpoint of its dequantized weights.
TEST_P(QuantGoldenTest, LogitsEqualThoseOfTheDequantizedCheckpoint) {
  std::vector<FetchedTensor> tensors = Fetched(dir_, DType::kF32);
  nlohmann::json config = nlohmann::json::parse(std::ifstream(dir_ + "/config.json"));
  config.erase("quantization_config");
  const TempDir plain;
  plain.Write("config.json", config.dump());
  const auto plain_config = LoadModelConfig(plain.path());
  ASSERT_TRUE(plain_config.ok()) << plain_config.status();
  const auto named = FetchAll(*plain_config, nullptr);
  ASSERT_TRUE(named.ok()) << named.status();
  ASSERT_EQ(named->size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].spec = (*named)[i].spec;
    if (!plain_config->norm_weights_plus_one || !is_gguf() || !tensors[i].spec.vector) continue;
    for (float& value : tensors[i].values) value -= 1;
  }
  WriteSafetensors(tensors, plain.File("model.safetensors"));
  for (const std::vector<TokenId>& prompt : golden_.prompts) {
    const std::vector<float> expected = Logits(plain.path(), prompt);
    const std::vector<float> logits = Logits(dir_, prompt);
    if (std::string(GetParam()) ==
        "gguf_f16") {  // has a rotation's factors, config.json their rule
      EXPECT_LE(RelativeError(logits, expected), 1e-5f);
    } else {
      EXPECT_EQ(logits, expected);
    }
  }
}

TEST(GgufModelPathTest, AFileAndTheDirectoryThatHoldsItAreTheSameModel) {
  const std::string dir = QuantGoldenDir("gguf_qwen2");
  const auto of_file = LoadModelConfig(dir + "/model.gguf");
  ASSERT_TRUE(of_file.ok()) << of_file.status();
  EXPECT_EQ(of_file->name, "model");
  EXPECT_EQ(of_file->architecture, "Qwen2ForCausalLM");
  EXPECT_EQ(of_file->eos_token_ids, (std::vector<TokenId>{1, 3}));
  EXPECT_EQ(Logits(dir + "/model.gguf", {1, 2, 3}), Logits(dir, {1, 2, 3}));
}

std::map<std::string, std::vector<float>> Blocks() {
  return ReadFloats(QuantGoldenDir("blocks.safetensors"));
}

TEST(GgufBlockGoldenTest, EveryTypeDecodesToTheBitsOfTheReference) {
  const auto tensors = Blocks();
  for (const uint32_t id : {8u, 2u, 3u, 14u}) {
    const GgufTensorType* type = FindGgufTensorType(id);
    ASSERT_NE(type, nullptr);
    std::vector<std::byte> data;
    for (const float b : tensors.at(absl::StrCat(type->name, ".blocks"))) {
      data.push_back(static_cast<std::byte>(b));
    }
    const std::vector<float>& expected = tensors.at(absl::StrCat(type->name, ".values"));
    const auto cols = static_cast<int64_t>(expected.size());
    const GgufTensor tensor{.name = "t", .type = type, .shape = {1, cols}, .data = data};
    std::vector<float> values(expected.size());
    for (int64_t col = 0; col < cols; col += EncodedMatrix::kTileCols) {
      GgufMatrix(tensor, 1, cols, 0)
          .Decode({.row = 0, .col = col, .rows = 1, .cols = EncodedMatrix::kTileCols},
                  values.data() + col);
    }
    EXPECT_EQ(values, expected) << type->name;
  }
}

TEST(Fp8GoldenTest, EveryCodeHasTheValueOfTheReference) {
  const std::vector<float> expected = Blocks().at("F8_E4M3.values");
  const std::array<float, 256> values = Fp8Values();
  for (size_t code = 0; code < values.size(); ++code) {
    EXPECT_EQ(std::isnan(values[code]), std::isnan(expected[code])) << code;
    if (!std::isnan(expected[code])) {
      EXPECT_EQ(values[code], expected[code]) << code;
    }
    EXPECT_EQ(std::signbit(values[code]) || std::isnan(values[code]),
              std::signbit(expected[code]) || std::isnan(expected[code]))
        << code;
  }
}

}  // namespace
}  // namespace quire::testing
