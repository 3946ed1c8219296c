#include "core/model/checkpoint.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;
using testing::TempDir;

// A file with one F32 tensor of shape [1] that holds these four bytes.
std::string OneTensor(const std::string& name, const std::string& data) {
  return SafetensorsBytes(
      "{\"" + name + R"(": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})", data);
}

std::string Text(const SafetensorsEntry* entry) {
  if (entry == nullptr) return "(absent)";
  return {reinterpret_cast<const char*>(entry->data.data()), entry->data.size()};
}

class ShardedCheckpoint : public ::testing::Test {
 protected:
  ShardedCheckpoint() {
    dir_.Write("s1.safetensors", OneTensor("a", "AAAA"));
    dir_.Write("s2.safetensors", OneTensor("b", "BBBB"));
  }
  absl::StatusOr<Checkpoint> OpenWith(const std::string& index) {
    dir_.Write("model.safetensors.index.json", index);
    return Checkpoint::Open(dir_.path());
  }
  void ExpectRefused(const std::string& index, const std::string& message) {
    const auto checkpoint = OpenWith(index);
    EXPECT_TRUE(absl::IsInvalidArgument(checkpoint.status())) << index << checkpoint.status();
    EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr(message));
  }

  TempDir dir_;
};

TEST(Checkpoint, ReadsASingleFile) {
  const TempDir dir;
  dir.Write("model.safetensors", OneTensor("a", "AAAA"));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Text(checkpoint->Find("a")), "AAAA");
  EXPECT_EQ(checkpoint->Find("b"), nullptr);
  EXPECT_THAT(checkpoint->Names(), ElementsAre("a"));
}

TEST(Checkpoint, NamesTensorsInTheOrderOfTheirData) {
  const TempDir dir;
  dir.Write("model.safetensors",
            SafetensorsBytes(R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [2, 3]},
                                 "b": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                                 "c": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}})",
                             "bca"));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->NamesInFileOrder(), ElementsAre("b", "c", "a"));
  EXPECT_THAT(checkpoint->FileNames(), ElementsAre("model.safetensors"));
}

TEST(Checkpoint, TellsThatThereIsNone) {
  const TempDir dir;
  const auto checkpoint = Checkpoint::Open(dir.path());
  EXPECT_TRUE(absl::IsNotFound(checkpoint.status()));
  EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr("model.safetensors"));
}

TEST(Checkpoint, RefusesAnEmptyFileAndADirectory) {
  const TempDir dir;
  dir.Write("model.safetensors", "");
  EXPECT_TRUE(absl::IsInvalidArgument(Checkpoint::Open(dir.path()).status()));
  std::filesystem::remove(dir.File("model.safetensors"));
  std::filesystem::create_directory(dir.File("model.safetensors"));
  EXPECT_TRUE(absl::IsInvalidArgument(Checkpoint::Open(dir.path()).status()));
}

TEST_F(ShardedCheckpoint, JoinsTheFilesOfTheIndex) {
  const auto checkpoint =
      OpenWith(R"({"metadata": {}, "weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}})");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Text(checkpoint->Find("a")), "AAAA");
  EXPECT_EQ(Text(checkpoint->Find("b")), "BBBB");
  EXPECT_THAT(checkpoint->Names(), ElementsAre("a", "b"));
  EXPECT_THAT(checkpoint->FileNames(), ElementsAre("s1.safetensors", "s2.safetensors"));
}

TEST_F(ShardedCheckpoint, RefusesNamesThatLeaveTheDirectory) {
  for (const char* name :
       {"../s1.safetensors", "/etc/s1.safetensors", "sub/s1.safetensors", "..", "", ".safetensors",
        "s1.safetensors\\u0000", "s1.bin", "s1.safetensors/"}) {
    ExpectRefused(std::string(R"({"weight_map": {"a": ")") + name + "\"}}", "plain name");
  }
}

TEST_F(ShardedCheckpoint, RefusesAMalformedIndex) {
  for (const char* index : {"", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})",
                            R"({"weight_map": {"a": 1}})", R"({"weight_map": {"a": null}})",
                            R"({"weight_map": {"a": "s1.safetensors", "a": "s2.safetensors"}})"}) {
    ExpectRefused(index, "model.safetensors.index.json");
  }
}

TEST_F(ShardedCheckpoint, RefusesAnIndexThatDoesNotMatchTheFiles) {
  ExpectRefused(R"({"weight_map": {"a": "s3.safetensors"}})", "missing: s3.safetensors");
  ExpectRefused(R"({"weight_map": {"a": "s1.safetensors", "c": "s1.safetensors"}})",
                "s1.safetensors: lacks tensor 'c'");
  ExpectRefused(R"({"weight_map": {"c": "s1.safetensors"}})", "which the index puts nowhere");
  ExpectRefused(R"({"weight_map": {"a": "s2.safetensors", "b": "s1.safetensors"}})",
                "holds tensor 'a', which the index puts into s2.safetensors");
}

TEST_F(ShardedCheckpoint, NamesTheBrokenShard) {
  dir_.Write("s2.safetensors", OneTensor("b", "BBB"));
  ExpectRefused(R"({"weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}})",
                "s2.safetensors: tensor 'b'");
}

TEST_F(ShardedCheckpoint, PrefersTheSingleFile) {
  dir_.Write("model.safetensors", OneTensor("a", "0000"));
  const auto checkpoint = OpenWith("{}");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Text(checkpoint->Find("a")), "0000");
}

}  // namespace
}  // namespace quire
