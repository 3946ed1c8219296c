#include "core/model/quant_checkpoint.h"

#include <cstring>
#include <functional>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/api/float_convert.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/model/safetensors_builder.h"

// One linear layer "l" of 16 outputs and 32 inputs in each format, right and wrong. That values are
// right is what tests/golden/quant_golden_test.cc shows.

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;
using testing::TempDir;
using ::testing::UnorderedElementsAre;

constexpr int64_t kOutputs = 16;
constexpr int64_t kInputs = 32;
const TensorSpec kSpec = {.name = "l.weight", .rows = kOutputs, .cols = kInputs};

struct Tensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string data;
};
using Tensors = std::map<std::string, Tensor>;

template <typename T>
std::string Filled(int64_t count, T value) {
  std::string data;
  for (int64_t i = 0; i < count; ++i) data.append(reinterpret_cast<const char*>(&value), sizeof(T));
  return data;
}

std::string FileOf(const Tensors& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    data += tensor.data;
    absl::StrAppend(&header, begin == 0 ? "" : ",", "\"", name, "\":{\"dtype\":\"", tensor.dtype,
                    "\",\"shape\":", ShapeName(tensor.shape), ",\"data_offsets\":[", begin, ",",
                    data.size(), "]}");
  }
  return SafetensorsBytes(header + "}", data);
}

// Two groups of 16 inputs; codes 3, zero points 5 as stored, scales 0.5.
Tensors Gptq() {
  return {{"l.qweight", {"I32", {4, 16}, Filled(64, 0x33333333)}},
          {"l.qzeros", {"I32", {2, 2}, Filled(4, 0x55555555)}},
          {"l.scales", {"F32", {2, 16}, Filled(32, 0.5f)}},
          {"l.g_idx", {"I32", {32}, Filled(16, 0) + Filled(16, 1)}}};
}
Tensors Awq() {
  return {{"l.qweight", {"I32", {32, 2}, Filled(64, 0x33333333)}},
          {"l.qzeros", {"I32", {2, 2}, Filled(4, 0x55555555)}},
          {"l.scales", {"F32", {2, 16}, Filled(32, 0.5f)}}};
}
// Codes 1.
Tensors Fp8(const std::string& scale, const std::vector<int64_t>& shape, int64_t count) {
  return {{"l.weight", {"F8_E4M3", {16, 32}, std::string(512, '\x38')}},
          {scale, {"F32", shape, Filled(count, 0.5f)}}};
}

constexpr QuantConfig kGptq = {
    .method = QuantMethod::kGptq, .bits = 4, .group_size = 16, .zeros_less_one = true};
constexpr QuantConfig kAwq = {.method = QuantMethod::kAwq, .bits = 4, .group_size = 16};
constexpr QuantConfig kFp8 = {.method = QuantMethod::kFp8};
constexpr QuantConfig kFp8Blocks = {
    .method = QuantMethod::kFp8, .block_rows = 12, .block_cols = 20};

class QuantCheckpointTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<float>> Values(const QuantConfig& config, const Tensors& tensors) {
    dir_.Write("model.safetensors", FileOf(tensors));
    auto checkpoint = Checkpoint::Open(dir_.path());
    if (!checkpoint.ok()) return checkpoint.status();
    const auto quantized = OpenQuantized(config, *checkpoint, kSpec);
    if (!quantized.ok()) return quantized.status();
    used_ = quantized->tensors;
    if (quantized->matrix == nullptr) return std::vector<float>();
    DecodedMatrices decoded;
    const auto matrix = decoded.Add(*quantized->matrix, kSpec.name, kernels::DType::kF32);
    if (!matrix.ok()) return matrix.status();
    const auto* values = static_cast<const float*>(matrix->data);
    return std::vector<float>(values, values + matrix->rows * matrix->cols);
  }
  void ExpectValue(const QuantConfig& config, const Tensors& tensors, float value) {
    const auto values = Values(config, tensors);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_EQ(*values, std::vector<float>(kOutputs * kInputs, value));
  }

  TempDir dir_;
  std::vector<std::string> used_;
};

TEST_F(QuantCheckpointTest, ReadsALayerInEachFormat) {
  ExpectValue(kGptq, Gptq(), -1.5f);
  EXPECT_THAT(used_, UnorderedElementsAre("l.qweight", "l.qzeros", "l.scales", "l.g_idx"));
  ExpectValue(kAwq, Awq(), -1);
  ExpectValue(kFp8, Fp8("l.weight_scale", {}, 1), 0.5f);
  ExpectValue(kFp8, Fp8("l.weight_scale", {1}, 1), 0.5f);
  ExpectValue(kFp8, Fp8("l.weight_scale", {16}, 16), 0.5f);
  ExpectValue(kFp8, Fp8("l.weight_scale", {16, 1}, 16), 0.5f);
  ExpectValue(kFp8Blocks, Fp8("l.weight_scale_inv", {2, 2}, 4), 0.5f);
  EXPECT_THAT(used_, ElementsAre("l.weight", "l.weight_scale_inv"));
}

TEST_F(QuantCheckpointTest, GroupsAreRunsOfInputsWithoutAnIndex) {
  Tensors tensors = Gptq();
  tensors.erase("l.g_idx");
  tensors["l.scales"].data = Filled(16, 0.5f) + Filled(16, 2.0f);
  const auto values = Values(kGptq, tensors);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ((*values)[15], -1.5f);
  EXPECT_EQ((*values)[16], -6);
}

// A zero point stored less one is not taken modulo 16.
TEST_F(QuantCheckpointTest, TheLargestStoredZeroPointStandsForSixteen) {
  Tensors tensors = Gptq();
  tensors["l.qzeros"].data = Filled(4, 0xffffffffu);
  ExpectValue(kGptq, tensors, (3 - 16) * 0.5f);
}

TEST_F(QuantCheckpointTest, LeavesPlainTensorsToTheCaller) {
  const Tensors plain = {{"l.weight", {"F32", {16, 32}, Filled(512, 1.0f)}}};
  for (const QuantConfig& config : {kGptq, kAwq, kFp8, kFp8Blocks}) {
    const auto values = Values(config, plain);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_TRUE(values->empty());
    EXPECT_TRUE(used_.empty());
  }
}

TEST(IsInertWhenQuantized, TakesScalesOfActivationsAndBiasesOfZeros) {
  const std::string zeros(8, '\0');
  const std::string other = zeros.substr(1) + "\1";
  const auto entry = [](const char* name, const std::string& data) {
    SafetensorsEntry made;
    made.name = name;
    made.data = testing::AsBytes(data);
    return made;
  };
  EXPECT_TRUE(IsInertWhenQuantized(kGptq, entry("l.bias", zeros)));
  EXPECT_FALSE(IsInertWhenQuantized(kGptq, entry("l.bias", other)));
  EXPECT_FALSE(IsInertWhenQuantized(kGptq, entry("l.input_scale", zeros)));
  EXPECT_TRUE(IsInertWhenQuantized(kFp8, entry("l.input_scale", other)));
  EXPECT_TRUE(IsInertWhenQuantized(kFp8, entry("l.activation_scale", other)));
  EXPECT_TRUE(IsInertWhenQuantized(kFp8, entry("l.k_scale", other)));
  EXPECT_FALSE(IsInertWhenQuantized(kFp8, entry("l.weight_scale", other)));
  EXPECT_FALSE(IsInertWhenQuantized(kFp8, entry("l.bias", zeros)));
}

struct BadLayer {
  const char* name;
  QuantConfig config;
  std::function<void(Tensors&)> spoil;
  const char* message;
};

class QuantCheckpointRefuses : public QuantCheckpointTest,
                               public ::testing::WithParamInterface<BadLayer> {};

TEST_P(QuantCheckpointRefuses, AndNamesTheTensor) {
  const QuantConfig& config = GetParam().config;
  Tensors tensors = config.method == QuantMethod::kGptq  ? Gptq()
                    : config.method == QuantMethod::kAwq ? Awq()
                    : config.block_rows > 0              ? Fp8("l.weight_scale_inv", {2, 2}, 4)
                                                         : Fp8("l.weight_scale", {1}, 1);
  GetParam().spoil(tensors);
  const auto values = Values(config, tensors);
  EXPECT_TRUE(absl::IsInvalidArgument(values.status())) << values.status();
  EXPECT_THAT(std::string(values.status().message()), HasSubstr(GetParam().message));
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

QuantConfig With(QuantConfig config, int64_t group_size, bool needs_group_index = false) {
  config.group_size = group_size;
  config.needs_group_index = needs_group_index;
  return config;
}

INSTANTIATE_TEST_SUITE_P(
    Table, QuantCheckpointRefuses,
    ::testing::Values(
        BadLayer{"NoZeros", kGptq, [](Tensors& all) { all.erase("l.qzeros"); },
                 "lacks tensor 'l.qzeros', which belongs to a quantized layer"},
        BadLayer{"NoScales", kAwq, [](Tensors& all) { all.erase("l.scales"); },
                 "lacks tensor 'l.scales'"},
        BadLayer{"NoGroupIndex", With(kGptq, 16, true), [](Tensors& all) { all.erase("l.g_idx"); },
                 "tensor 'l.qweight' comes without its 'g_idx'"},
        BadLayer{"GroupsThatDoNotDivide", With(kGptq, 24), [](Tensors&) {},
                 "a layer of 32 inputs, which is no multiple of group_size, 24"},
        BadLayer{"GroupsOfAnotherSize", With(kGptq, 32), [](Tensors&) {},
                 "tensor 'l.qzeros' has shape [2, 2], but config.json makes it [1, 2]"},
        BadLayer{"GroupIndexTooLarge", kGptq,
                 [](Tensors& all) { all["l.g_idx"].data = Filled(31, 0) + Filled(1, 2); },
                 "tensor 'l.g_idx' puts input 31 into group 2, but there are 2"},
        BadLayer{"GroupIndexNegative", kGptq,
                 [](Tensors& all) { all["l.g_idx"].data = Filled(32, -1); },
                 "tensor 'l.g_idx' puts input 0 into group -1"},
        BadLayer{"GroupIndexOfAnotherLength", kGptq,
                 [](Tensors& all) {
                   all["l.g_idx"] = {"I32", {31}, Filled(31, 0)};
                 },
                 "tensor 'l.g_idx' has shape [31]"},
        BadLayer{"GroupIndexOfAnotherType", kGptq,
                 [](Tensors& all) {
                   all["l.g_idx"] = {"I64", {32}, Filled(32, int64_t{0})};
                 },
                 "tensor 'l.g_idx' has type I64, but must have I32"},
        BadLayer{"CodesOfAnotherShape", kGptq,
                 [](Tensors& all) {
                   all["l.qweight"].shape = {16, 4};
                 },
                 "tensor 'l.qweight' has shape [16, 4], but config.json makes it [4, 16]"},
        BadLayer{"CodesInTheOtherFormat", kAwq,
                 [](Tensors& all) {
                   all["l.qweight"].shape = {4, 16};
                 },
                 "tensor 'l.qweight' has shape [4, 16], but config.json makes it [32, 2]"},
        BadLayer{"CodesOfAnotherType", kAwq, [](Tensors& all) { all["l.qweight"].dtype = "F32"; },
                 "tensor 'l.qweight' has type F32, but must have I32 or U32"},
        BadLayer{"CodesOfAnotherWidth",
                 {.method = QuantMethod::kGptq, .bits = 8, .group_size = 16},
                 [](Tensors&) {},
                 "tensor 'l.qweight' has shape [4, 16], but config.json makes it [8, 16]"},
        BadLayer{"ScalesOfAnotherType", kGptq, [](Tensors& all) { all["l.scales"].dtype = "I32"; },
                 "tensor 'l.scales' has type I32"},
        BadLayer{"ScaleNan", kGptq,
                 [](Tensors& all) { all["l.scales"].data = Filled(31, 1.0f) + Filled(1, kNan); },
                 "tensor 'l.scales' has a scale that is not finite, number 31"},
        BadLayer{"ScaleInfinite", kAwq,
                 [](Tensors& all) { all["l.scales"].data = Filled(32, 2 * 3e38f); },
                 "tensor 'l.scales' has a scale that is not finite, number 0"},
        BadLayer{"ProductInfinite", kAwq,
                 [](Tensors& all) { all["l.scales"].data = Filled(32, 3e38f); },
                 "tensor 'l.weight' has an element that is not finite, at [0, 0]"},
        BadLayer{"Fp8WithoutScale", kFp8, [](Tensors& all) { all.erase("l.weight_scale"); },
                 "lacks tensor 'l.weight_scale', which belongs to a quantized layer"},
        BadLayer{"Fp8OfAnotherShape", kFp8,
                 [](Tensors& all) {
                   all["l.weight"].shape = {32, 16};
                 },
                 "tensor 'l.weight' has shape [32, 16], but config.json makes it [16, 32]"},
        BadLayer{"Fp8OfTheOtherKind", kFp8, [](Tensors& all) { all["l.weight"].dtype = "F8_E5M2"; },
                 "tensor 'l.weight' has type F8_E5M2, but must have F8_E4M3"},
        BadLayer{"Fp8CodeNan", kFp8, [](Tensors& all) { all["l.weight"].data[33] = '\x7f'; },
                 "tensor 'l.weight' has an element that is not finite, at [1, 1]"},
        BadLayer{"Fp8ScaleNan", kFp8,
                 [](Tensors& all) { all["l.weight_scale"].data = Filled(1, kNan); },
                 "tensor 'l.weight_scale' has a scale that is not finite"},
        BadLayer{"Fp8ScaleAnInput", kFp8,
                 [](Tensors& all) {
                   all["l.weight_scale"] = {"F32", {1, 32}, Filled(32, 1.0f)};
                 },
                 "tensor 'l.weight_scale' has shape [1, 32], but must be one scale or one for each "
                 "of 16 outputs"},
        BadLayer{"Fp8BlocksThatAreMissing", kFp8Blocks,
                 [](Tensors& all) {
                   all["l.weight_scale_inv"] = {"F32", {1, 2}, Filled(2, 1.0f)};
                 },
                 "tensor 'l.weight_scale_inv' has shape [1, 2], but config.json makes it [2, 2]"},
        BadLayer{"Fp8BlockScalesInE8", kFp8Blocks,
                 [](Tensors& all) {
                   all["l.weight_scale_inv"] = {"U8", {2, 2}, "1234"};
                 },
                 "tensor 'l.weight_scale_inv' has type U8, but must have F32 or F16 or BF16"}),
    [](const auto& suite) { return std::string(suite.param.name); });

}  // namespace
}  // namespace quire
