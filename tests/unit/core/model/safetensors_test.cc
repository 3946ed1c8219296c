#include "core/model/safetensors.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire {
namespace {

using testing::AsBytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;

absl::StatusOr<std::vector<SafetensorsEntry>> Parse(const std::string& file) {
  return ParseSafetensors(AsBytes(file), "m.safetensors", {});
}

TEST(ParseSafetensors, ListsTensorsInTheOrderOfTheirData) {
  const std::string file = SafetensorsBytes(
      R"({"__metadata__": {"format": "pt"},
          "b": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]},
          "a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [6, 14]}}   )",
      "bbbbbbaaaaaaaa");
  const auto entries = Parse(file);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 2u);
  const SafetensorsEntry& b = (*entries)[0];
  const SafetensorsEntry& a = (*entries)[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, kernels::DType::kBF16);
  EXPECT_THAT(b.shape, ElementsAre(3));
  EXPECT_EQ(std::memcmp(b.data.data(), "bbbbbb", 6), 0);
  EXPECT_EQ(a.dtype, kernels::DType::kF32);
  EXPECT_THAT(a.shape, ElementsAre(1, 2));
  EXPECT_EQ(a.data.size(), 8u);
}

TEST(ParseSafetensors, ListsTypesThatCannotBeLoadedWithoutOne) {
  const std::string file = SafetensorsBytes(
      R"({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
          "b": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [8, 10]}})",
      "0123456789");
  const auto entries = Parse(file);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_FALSE((*entries)[0].dtype.has_value());
  EXPECT_EQ((*entries)[0].dtype_name, "I64");
  EXPECT_FALSE((*entries)[1].dtype.has_value());
}

TEST(ParseSafetensors, AcceptsScalarsAndEmptyTensorsAnywhere) {
  const std::string file = SafetensorsBytes(
      R"({"scalar": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
          "z0": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},
          "z1": {"dtype": "F32", "shape": [3, 0], "data_offsets": [4, 4]},
          "half": {"dtype": "F16", "shape": [1], "data_offsets": [4, 6]}})",
      "012345");
  const auto entries = Parse(file);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(entries->size(), 4u);
}

TEST(ParseSafetensors, AcceptsAFileWithoutTensors) {
  const auto entries = Parse(SafetensorsBytes("{}", ""));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_TRUE(entries->empty());
}

TEST(ParseSafetensors, HasABoundOnTheHeaderThatIsAnOption) {
  const std::string file = SafetensorsBytes("{                }", "");
  EXPECT_TRUE(ParseSafetensors(AsBytes(file), "f", {.max_header_bytes = 18}).ok());
  const auto refused = ParseSafetensors(AsBytes(file), "f", {.max_header_bytes = 17});
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("more than the 17 allowed"));
}

// Cutting a good file short anywhere gives an error, never a read beyond the end.
TEST(ParseSafetensors, RefusesEveryPrefixOfAFile) {
  const std::string file = SafetensorsBytes(
      R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})", "01234567");
  ASSERT_TRUE(Parse(file).ok());
  for (size_t size = 0; size < file.size(); ++size) {
    // A heap copy of exactly this size, so that AddressSanitizer sees any byte too many.
    const std::string prefix = file.substr(0, size);
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(prefix).status())) << size;
  }
}

TEST(ParseSafetensors, RefusesLengthsThatWrapAround) {
  for (const uint64_t length :
       {UINT64_MAX, UINT64_MAX - 7, uint64_t{1} << 63, uint64_t{17} << 20}) {
    std::string file = SafetensorsBytes("{}", "");
    std::memcpy(file.data(), &length, sizeof(length));
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(file).status())) << length;
  }
}

struct BadFile {
  const char* header;
  const char* message;
};

class ParseSafetensorsRefuses : public ::testing::TestWithParam<BadFile> {};

// All with 16 bytes of data.
TEST_P(ParseSafetensorsRefuses, AndSaysWhatIsWrong) {
  const auto entries = Parse(SafetensorsBytes(GetParam().header, "0123456789abcdef"));
  ASSERT_TRUE(absl::IsInvalidArgument(entries.status())) << GetParam().header;
  EXPECT_THAT(std::string(entries.status().message()), HasSubstr("m.safetensors: "));
  EXPECT_THAT(std::string(entries.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Headers, ParseSafetensorsRefuses,
    ::testing::Values(BadFile{"", "must start with '{'"}, BadFile{" {}", "must start with '{'"},
                      BadFile{"[]", "must start with '{'"}, BadFile{"{", "not valid JSON"},
                      BadFile{"{}}", "not valid JSON"}, BadFile{"{\"\xff\": 1}", "not valid JSON"},
                      BadFile{"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "nested deeper"},
                      BadFile{"{}", "16 bytes of data belong to no tensor"},
                      BadFile{R"({"a": 1})", "tensor 'a': must be described by an object"},
                      BadFile{R"({"a": {}})", "tensor 'a': field 'dtype'"},
                      BadFile{R"({"__metadata__": {}, "a": null})",
                              "must be described by an object"}));

INSTANTIATE_TEST_SUITE_P(
    Fields, ParseSafetensorsRefuses,
    ::testing::Values(
        BadFile{R"({"a": {"dtype": "F31", "shape": [4], "data_offsets": [0, 16]}})",
                "found \"F31\""},
        BadFile{R"({"a": {"dtype": 32, "shape": [4], "data_offsets": [0, 16]}})",
                "'dtype' must be a string"},
        BadFile{R"({"a": {"dtype": "F32", "data_offsets": [0, 16]}})", "'shape' must be a list"},
        BadFile{R"({"a": {"dtype": "F32", "shape": 4, "data_offsets": [0, 16]}})", "'shape'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}})", "found [-4]"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}})", "'shape'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": ["4"], "data_offsets": [0, 16]}})", "'shape'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [18446744073709551615],
                    "data_offsets": [0, 16]}})",
                "'shape'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [1,1,1,1,1,1,1,1,4],
                    "data_offsets": [0, 16]}})",
                "at most 8 sizes"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4]}})", "'data_offsets' must be [begin, end]"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16]}})", "'data_offsets'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8, 16]}})",
                "'data_offsets'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [-1, 15]}})",
                "'data_offsets'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": ["0", 16]}})",
                "'data_offsets'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": {"0": 0, "1": 16}}})",
                "'data_offsets'"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [4], "shape": [4], "data_offsets": [0, 16]}})",
                "the key 'shape' appears twice"},
        BadFile{R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                    "a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
                "the key 'a' appears twice"}));

INSTANTIATE_TEST_SUITE_P(
    Sizes, ParseSafetensorsRefuses,
    ::testing::Values(BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}})",
                              "within the 16 bytes of data"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}})",
                              "within the 16 bytes of data"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [4],
                    "data_offsets": [18446744073709551600, 18446744073709551615]}})",
                              "within the 16 bytes of data"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}})",
                              "12 bytes apart, as dtype F32 and shape [3] need"},
                      BadFile{R"({"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 16]}})",
                              "8 bytes apart"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 16]}})",
                              "0 bytes apart"},
                      // 2^32 * 2^32 elements wrap to 0, and 2^62 F32 to 0 bytes.
                      BadFile{R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296],
                    "data_offsets": [0, 0]}})",
                              "fits 63 bits"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [4611686018427387904],
                    "data_offsets": [0, 0]}})",
                              "fits 63 bits"}));

INSTANTIATE_TEST_SUITE_P(
    Coverage, ParseSafetensorsRefuses,
    ::testing::Values(BadFile{R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}})",
                              "4 bytes of data belong to no tensor"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]}})",
                              "tensor 'a' starts at byte 4 of the data, but 0"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                    "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
                              "tensor 'b' starts at byte 8 of the data, but 4"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
                    "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
                              "tensor 'b' starts at byte 8 of the data, but 12"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
                    "b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})",
                              "no overlaps"},
                      BadFile{R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
                    "z": {"dtype": "F32", "shape": [0], "data_offsets": [8, 8]}})",
                              "no overlaps"}));

}  // namespace
}  // namespace quire
