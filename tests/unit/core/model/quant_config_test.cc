#include "core/model/quant_config.h"

#include <nlohmann/json.hpp>

#include "core/model/json_fields.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace quire {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

absl::StatusOr<std::optional<QuantConfig>> Read(const std::string& quantization) {
  const json config = {{"quantization_config", json::parse(quantization)}};
  return ReadQuantConfig(JsonFields(config, "config.json"));
}

QuantConfig MustRead(const std::string& quantization) {
  const auto config = Read(quantization);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->value() : QuantConfig();
}

TEST(ReadQuantConfig, FindsNothingWhereThereIsNone) {
  const json config = {{"quantization_config", nullptr}};
  EXPECT_FALSE(ReadQuantConfig(JsonFields(config, "config.json"))->has_value());
  const testing::TempDir dir;
  EXPECT_FALSE(LoadQuantConfig(dir.path())->has_value());
}

TEST(ReadQuantConfig, ReadsBothFormatsOfGptq) {
  const QuantConfig v1 = MustRead(
      R"({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": true, "sym": true})");
  EXPECT_EQ(v1.method, QuantMethod::kGptq);
  EXPECT_EQ(v1.bits, 4);
  EXPECT_EQ(v1.group_size, 128);
  EXPECT_TRUE(v1.needs_group_index);
  EXPECT_TRUE(v1.zeros_less_one);
  const QuantConfig v2 = MustRead(
      R"({"quant_method": "gptq", "bits": 8, "group_size": -1, "checkpoint_format": "gptq_v2"})");
  EXPECT_EQ(v2.bits, 8);
  EXPECT_EQ(v2.group_size, 0);
  EXPECT_FALSE(v2.needs_group_index);
  EXPECT_FALSE(v2.zeros_less_one);
}

TEST(ReadQuantConfig, ReadsAwqInBothSpellings) {
  for (const char* text : {R"({"quant_method": "awq", "bits": 4, "group_size": 64,
                               "version": "GEMM", "zero_point": true})",
                           R"({"quant_method": "awq", "bits": 4, "group_size": 64,
                               "format": "gemm", "backend": "auto"})"}) {
    const QuantConfig config = MustRead(text);
    EXPECT_EQ(config.method, QuantMethod::kAwq);
    EXPECT_EQ(config.group_size, 64);
  }
}

TEST(ReadQuantConfig, ReadsFp8WithAndWithoutBlocks) {
  EXPECT_EQ(MustRead(R"({"quant_method": "fp8", "activation_scheme": "static"})").block_rows, 0);
  const QuantConfig blocks =
      MustRead(R"({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 64]})");
  EXPECT_EQ(blocks.method, QuantMethod::kFp8);
  EXPECT_EQ(blocks.block_rows, 128);
  EXPECT_EQ(blocks.block_cols, 64);
}

std::string Compressed(const std::string& weights) {
  return R"({"quant_method": "compressed-tensors", "format": "float-quantized",
             "config_groups": {"group_0": {"weights": )" +
         weights + "}}}";
}

TEST(ReadQuantConfig, ReadsFp8OfCompressedTensors) {
  for (const char* strategy : {"tensor", "channel"}) {
    EXPECT_EQ(MustRead(Compressed(std::string(R"({"num_bits": 8, "type": "float", "strategy": ")") +
                                  strategy + "\"}"))
                  .method,
              QuantMethod::kFp8);
  }
  EXPECT_EQ(MustRead(Compressed(R"({"num_bits": 8, "type": "float", "strategy": "block",
                                    "block_structure": [128, 128]})"))
                .block_cols,
            128);
}

struct BadConfig {
  std::string json;
  const char* message;
};

class ReadQuantConfigRefuses : public ::testing::TestWithParam<BadConfig> {};

TEST_P(ReadQuantConfigRefuses, AndNamesTheField) {
  const auto config = Read(GetParam().json);
  EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << config.status();
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("config.json: "));
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, ReadQuantConfigRefuses,
    ::testing::Values(
        BadConfig{"7", "'quantization_config' must be an object"},
        BadConfig{"{}", "supported, awq, compressed-tensors, fp8, gptq;"},
        BadConfig{R"({"quant_method": "bitsandbytes", "load_in_4bit": true})",
                  "found \"bitsandbytes\""},
        BadConfig{R"({"quant_method": "gptq"})", "'bits' must be"},
        BadConfig{R"({"quant_method": "gptq", "bits": 3})", "'bits' must be 4 or 8, found 3"},
        BadConfig{R"({"quant_method": "gptq", "bits": 4, "group_size": 0})", "'group_size'"},
        BadConfig{R"({"quant_method": "gptq", "bits": 4, "group_size": -2})", "'group_size'"},
        BadConfig{R"({"quant_method": "gptq", "bits": 4, "group_size": 1e9})", "'group_size'"},
        BadConfig{R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})",
                  "found \"marlin\""},
        BadConfig{R"({"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*": {}}})", "'dynamic'"},
        BadConfig{R"({"quant_method": "awq", "bits": 8})", "'bits'"},
        BadConfig{R"({"quant_method": "awq", "version": "gemv"})", "'version' must be \"gemm\""},
        BadConfig{R"({"quant_method": "awq", "backend": "llm-awq"})", "'backend'"},
        BadConfig{R"({"quant_method": "awq", "zero_point": false})", "'zero_point' must be true"},
        BadConfig{R"({"quant_method": "fp8", "fmt": "e5m2"})", "'fmt' must be \"e4m3\""},
        BadConfig{R"({"quant_method": "fp8", "weight_block_size": 128})", "'weight_block_size'"},
        BadConfig{R"({"quant_method": "fp8", "weight_block_size": [128]})", "'weight_block_size'"},
        BadConfig{R"({"quant_method": "fp8", "weight_block_size": [0, 128]})",
                  "'weight_block_size'"},
        BadConfig{R"({"quant_method": "fp8", "weight_block_size": [128, -1]})",
                  "'weight_block_size'"},
        BadConfig{R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})",
                  "found \"pack-quantized\""},
        BadConfig{R"({"quant_method": "compressed-tensors", "format": "float-quantized"})",
                  "'config_groups'"},
        BadConfig{Compressed("null"), "'weights' must be an object"},
        BadConfig{Compressed(R"({"num_bits": 8, "type": "int"})"), "'type' must be \"float\""},
        BadConfig{Compressed(R"({"num_bits": 4, "type": "float"})"), "'num_bits'"},
        BadConfig{Compressed(R"({"num_bits": 8, "type": "float", "symmetric": false})"),
                  "'symmetric'"},
        BadConfig{Compressed(R"({"num_bits": 8, "type": "float", "strategy": "group"})"),
                  "'strategy'"},
        BadConfig{Compressed(R"({"num_bits": 8, "type": "float", "strategy": "block"})"),
                  "'block_structure'"}));

}  // namespace
}  // namespace quire
