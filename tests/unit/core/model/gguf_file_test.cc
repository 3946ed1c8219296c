#include "core/model/gguf_file.h"

#include <cstring>
#include <functional>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/gguf_builder.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire {
namespace {

using testing::AsBytes;
using ::testing::ElementsAre;
using testing::GgufBuilder;
using ::testing::HasSubstr;

absl::StatusOr<GgufFile> Parse(const std::string& file, const GgufLimits& limits = {}) {
  return ParseGguf(AsBytes(file), "m.gguf", limits);
}

GgufBuilder TwoTensors() {
  GgufBuilder builder;
  builder.String("general.architecture", "llama").Uint32("llama.block_count", 1);
  builder.Strings("tokens", {"a", "bc", ""});
  builder.Tensor("f", 0, {3}, std::string(12, 'f')).Tensor("q", 8, {2, 32}, std::string(68, 'q'));
  return builder;
}

TEST(ParseGguf, ListsMetadataAndTensorsOfBothVersions) {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder builder = TwoTensors();
    builder.version = version;
    const std::string bytes = builder.Bytes();
    const auto file = Parse(bytes);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->version, version);
    ASSERT_EQ(file->metadata.size(), 3u);
    const GgufValue& tokens = file->metadata.at("tokens");
    EXPECT_TRUE(tokens.is_array);
    EXPECT_EQ(tokens.count, 3u);
    EXPECT_EQ(tokens.type, GgufValueType::kString);
    ASSERT_EQ(file->tensors.size(), 2u);
    EXPECT_THAT(file->tensors[1].shape, ElementsAre(2, 32));
    EXPECT_STREQ(file->tensors[1].type->name, "Q8_0");
    EXPECT_EQ(std::memcmp(file->tensors[1].data.data(), std::string(68, 'q').data(), 68), 0);
    EXPECT_EQ(file->tensors[1].data.size(), 68u);
  }
}

TEST(ParseGguf, AlignsDataAsTheFileAsks) {
  GgufBuilder builder;
  builder.alignment = 128;
  builder.Uint32("general.alignment", 128).OnesF32("a", {1}).OnesF32("b", {1});
  const std::string bytes = builder.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors[1].data.data() - file->tensors[0].data.data(), 128);
}

TEST(ParseGguf, TakesALastTensorWithAndWithoutItsPadding) {
  const std::string padded = TwoTensors().Bytes();
  const std::string bare = padded.substr(0, padded.size() - 28);
  EXPECT_TRUE(Parse(padded).ok());
  EXPECT_TRUE(Parse(bare).ok());
  EXPECT_FALSE(Parse(bare.substr(0, bare.size() - 1)).ok());
}

// Cutting a good file short anywhere gives an error, never a read beyond the end.
TEST(ParseGguf, RefusesEveryPrefixOfAFile) {
  const std::string file = TwoTensors().Bytes();
  for (size_t size = 0; size < file.size() - 28; ++size) {
    // A heap copy of exactly this size, so that AddressSanitizer sees any byte too many.
    const std::vector<std::byte> prefix(AsBytes(file).begin(),
                                        AsBytes(file).begin() + static_cast<ptrdiff_t>(size));
    EXPECT_TRUE(absl::IsInvalidArgument(ParseGguf(prefix, "m.gguf").status())) << size;
  }
}

// Any bytes give a file whose parts lie within it, or an error.
TEST(ParseGguf, SurvivesChangedBytes) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string good = TwoTensors().Bytes();
  size_t accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = good;
    for (uint32_t i = 0; i <= random() % 3; ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const auto file = Parse(bytes);
    if (!file.ok()) continue;
    ++accepted;
    for (const GgufTensor& tensor : file->tensors) {
      EXPECT_GE(static_cast<const void*>(tensor.data.data()), bytes.data());
      EXPECT_LE(static_cast<const void*>(tensor.data.data() + tensor.data.size()),
                bytes.data() + bytes.size());
    }
  }
  EXPECT_GT(accepted, 0u);
}

TEST(ParseGguf, HasBoundsThatAreOptions) {
  const std::string file = TwoTensors().Bytes();
  EXPECT_TRUE(Parse(file, {.max_keys = 3, .max_tensors = 2, .max_name_bytes = 20}).ok());
  const auto message = [&](const GgufLimits& limits) {
    return std::string(Parse(file, limits).status().message());
  };
  EXPECT_THAT(message({.max_keys = 2}), HasSubstr("3 keys of metadata, more than the 2"));
  EXPECT_THAT(message({.max_tensors = 1}), HasSubstr("2 tensors, more than the 1"));
  EXPECT_THAT(message({.max_name_bytes = 10}), HasSubstr("20 bytes, more than the 10"));
  EXPECT_THAT(message({.max_string_bytes = 4}), HasSubstr("5 bytes, more than the 4"));
  EXPECT_THAT(message({.max_array_elements = 2}), HasSubstr("3 elements, more than the 2"));
}

struct BadFile {
  const char* name;
  std::function<void(GgufBuilder&)> spoil;
  const char* message;
};

class ParseGgufRefuses : public ::testing::TestWithParam<BadFile> {};

TEST_P(ParseGgufRefuses, AndSaysWhatIsWrong) {
  GgufBuilder builder;
  builder.String("general.architecture", "llama");
  GetParam().spoil(builder);
  const std::string bytes = builder.Bytes();
  const auto file = Parse(bytes);
  EXPECT_TRUE(absl::IsInvalidArgument(file.status())) << file.status();
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("m.gguf: "));
  EXPECT_THAT(std::string(file.status().message()), HasSubstr(GetParam().message));
}

constexpr uint64_t kHuge = uint64_t{1} << 62;
const std::string kFour(4, '\0');

INSTANTIATE_TEST_SUITE_P(
    Table, ParseGgufRefuses,
    ::testing::Values(
        BadFile{"Magic", [](GgufBuilder& b) { b.magic = "GGML"; }, "does not begin with 'GGUF'"},
        BadFile{"Version1", [](GgufBuilder& b) { b.version = 1; }, "is of version 1;"},
        BadFile{"Version4", [](GgufBuilder& b) { b.version = 4; }, "versions 2 and 3"},
        BadFile{"BigEndian", [](GgufBuilder& b) { b.version = 3u << 24; }, "or big-endian"},
        BadFile{"MoreKeysThanThereAre", [](GgufBuilder& b) { b.num_keys = 60000, b.alignment = 1; },
                "cut short"},
        BadFile{"KeysWithoutBound", [](GgufBuilder& b) { b.num_keys = UINT64_MAX; },
                "keys of metadata, more than the"},
        BadFile{"MoreTensorsThanThereAre",
                [](GgufBuilder& b) { b.num_tensors = 60000, b.alignment = 1; }, "cut short"},
        BadFile{"TensorsWithoutBound", [](GgufBuilder& b) { b.num_tensors = UINT64_MAX; },
                "tensors, more than the"},
        BadFile{"ValueOfUnknownType",
                [](GgufBuilder& b) { b.Raw("k", static_cast<GgufValueType>(13), kFour); },
                "key 'k' is of type 13, which GGUF does not have"},
        BadFile{"ArrayOfUnknownType",
                [](GgufBuilder& b) { b.Array("k", static_cast<GgufValueType>(99), 1, kFour); },
                "key 'k' is of type 99"},
        BadFile{"ArrayOfArrays",
                [](GgufBuilder& b) { b.Array("k", GgufValueType::kArray, 1, kFour); },
                "key 'k' is an array of arrays"},
        BadFile{"ArrayLongerThanTheFile",
                [](GgufBuilder& b) { b.Array("k", GgufValueType::kUint64, 1 << 20, kFour); },
                "key 'k' needs 8388608 bytes"},
        BadFile{"ArrayWhoseSizeOverflows",
                [](GgufBuilder& b) { b.Array("k", GgufValueType::kUint64, kHuge, kFour); },
                "key 'k' is an array of 4611686018427387904 elements, more than the"},
        BadFile{"StringsBeyondTheFile",
                [](GgufBuilder& b) { b.Array("k", GgufValueType::kString, 1 << 20, kFour); },
                "key 'k' needs 8 bytes"},
        BadFile{"StringLongerThanTheFile",
                [](GgufBuilder& b) {
                  b.Raw("k", GgufValueType::kString, GgufBuilder::Number(uint64_t{1000}));
                },
                "key 'k' needs 1000 bytes"},
        BadFile{"StringWhoseLengthOverflows",
                [](GgufBuilder& b) {
                  b.Raw("k", GgufValueType::kString, GgufBuilder::Number(UINT64_MAX));
                },
                "key 'k' has 18446744073709551615 bytes, more than the"},
        BadFile{"KeyThatIsTooLong", [](GgufBuilder& b) { b.Uint32(std::string(2000, 'k'), 1); },
                "key 1 of the metadata has 2000 bytes"},
        BadFile{"KeyTwice", [](GgufBuilder& b) { b.Uint32("k", 1).Uint32("k", 2); },
                "key 'k' is there twice"},
        BadFile{"KeyThatIsNoText", [](GgufBuilder& b) { b.Uint32("\x01", 1).Uint32("\x01", 1); },
                "key '\\x01' is there twice"},
        BadFile{"AlignmentOfNoPowerOfTwo",
                [](GgufBuilder& b) { b.Uint32("general.alignment", 24); },
                "'general.alignment' must be"},
        BadFile{"AlignmentZero", [](GgufBuilder& b) { b.Uint32("general.alignment", 0); },
                "'general.alignment' must be"},
        BadFile{"AlignmentHuge", [](GgufBuilder& b) { b.Uint32("general.alignment", 1u << 31); },
                "'general.alignment' must be"},
        BadFile{"AlignmentOfAnotherType",
                [](GgufBuilder& b) { b.String("general.alignment", "32"); },
                "'general.alignment' must be"},
        BadFile{"TensorTwice", [](GgufBuilder& b) { b.OnesF32("t", {1}).OnesF32("t", {1}); },
                "tensor 't' is there twice"},
        BadFile{"TensorWithoutDimensions", [](GgufBuilder& b) { b.Tensor("t", 0, {}, kFour); },
                "tensor 't' has 0 dimensions"},
        BadFile{"TensorOfFiveDimensions",
                [](GgufBuilder& b) {
                  b.OnesF32("t", {1, 1, 1, 1, 1});
                },
                "has 5 dimensions"},
        BadFile{"TensorOfNoSize", [](GgufBuilder& b) { b.Tensor("t", 0, {0}, kFour); },
                "tensor 't' has a dimension of size 0"},
        BadFile{"TensorWithANegativeSize",
                [](GgufBuilder& b) { b.Tensor("t", 0, {UINT64_MAX}, kFour); },
                "has a dimension of size 18446744073709551615"},
        BadFile{"TensorWhoseSizeOverflows",
                [](GgufBuilder& b) {
                  b.Tensor("t", 0, {1u << 31, 1u << 31, 1u << 31}, kFour);
                },
                "does not fit 63 bits"},
        BadFile{"TensorOfAnotherQuantization",
                [](GgufBuilder& b) {
                  b.Tensor("t", 12, {1, 256}, std::string(144, '\0'));
                },
                "tensor 't' has type Q4_K; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q6_K can be loaded"},
        BadFile{"TensorOfUnknownType", [](GgufBuilder& b) { b.Tensor("t", 1000, {1}, kFour); },
                "tensor 't' has type number 1000"},
        BadFile{"TensorWithACutBlock",
                [](GgufBuilder& b) {
                  b.Tensor("t", 8, {1, 33}, std::string(36, '\0'));
                },
                "rows of 33, no multiple of the 32 elements of a block of Q8_0"},
        BadFile{"TensorLongerThanTheFile", [](GgufBuilder& b) { b.Tensor("t", 0, {1000}, kFour); },
                "tensor 't' needs 4000 bytes at offset 0"},
        BadFile{"TensorThatIsMisaligned",
                [](GgufBuilder& b) {
                  b.offset_shift = 4;
                  b.OnesF32("t", {1});
                },
                "tensor 't' is at offset 4 of the data, but must be at 0"},
        BadFile{"TensorsThatOverlap",
                [](GgufBuilder& b) {
                  b.OnesF32("t", {1});
                  b.offset_shift = static_cast<uint64_t>(-32);
                  b.OnesF32("u", {1});
                },
                "tensor 'u' is at offset 0 of the data, but must be at 32"},
        BadFile{"TensorBehindAGap",
                [](GgufBuilder& b) {
                  b.OnesF32("t", {1});
                  b.offset_shift = 64;
                  b.OnesF32("u", {1});
                },
                "tensor 'u' is at offset 96 of the data, but must be at 32"},
        BadFile{"TensorFarOutside",
                [](GgufBuilder& b) {
                  b.offset_shift = UINT64_MAX - 31;
                  b.OnesF32("t", {1});
                },
                "tensor 't' is at offset"},
        BadFile{"BytesBehindTheData",
                [](GgufBuilder& b) { b.Tensor("t", 0, {1}, std::string(40, '\0')); },
                "32 bytes behind the data belong to no tensor"}),
    [](const auto& suite) { return std::string(suite.param.name); });

}  // namespace
}  // namespace quire
