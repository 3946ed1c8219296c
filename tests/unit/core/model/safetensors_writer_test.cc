#include "core/model/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire {
namespace {

using testing::AsBytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RandomSeeds;
using testing::TempDir;

std::string Written(const std::string& path) {
  const auto file = ReadSmallFile(path, size_t{64} << 20);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *file : "";
}

std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(SafetensorsWriter, WritesLengthHeaderAndData) {
  const TempDir dir;
  const std::vector<OutputTensor> tensors = {{"b", "U8", {3}, 3}, {"a", "F16", {1, 2}, 4}};
  auto writer = SafetensorsWriter::Create(dir.File("x"), tensors, {{"format", "pt"}, {"k", "\"v"}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(writer->Append(AsBytes("bb")).ok());
  EXPECT_TRUE(writer->Append(AsBytes("baaa")).ok());
  EXPECT_TRUE(writer->Append(AsBytes("a")).ok());
  EXPECT_TRUE(writer->Finish().ok());
  const std::string header = R"({"__metadata__":{"format":"pt","k":"\"v"},)"
                             R"("b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                             R"("a":{"dtype":"F16","shape":[1,2],"data_offsets":[3,7]}})";
  const std::string file = Written(dir.File("x"));
  const size_t padded = (header.size() + 7) / 8 * 8;
  EXPECT_EQ(file.substr(0, 8), std::string({static_cast<char>(padded), 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(file.substr(8, padded), header + std::string(padded - header.size(), ' '));
  EXPECT_EQ(file.substr(8 + padded), "bbbaaaa");
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  for (const uint64_t seed : RandomSeeds(20)) {
    SCOPED_TRACE(absl::StrCat("QUIRE_TEST_SEED=", seed));
    std::mt19937_64 random(seed);
    const TempDir dir;
    std::vector<OutputTensor> tensors;
    std::vector<std::string> data;
    for (size_t i = random() % 12; i > 0; --i) {
      std::vector<int64_t> shape;
      int64_t bytes = 4;
      for (size_t rank = random() % 4; rank > 0; --rank) {
        bytes *= shape.emplace_back(static_cast<int64_t>(random() % 9));
      }
      // Names that JSON must escape, too.
      tensors.push_back({absl::StrCat("t\"\\\n\xC3\xA9", i), "F32", shape, bytes});
      data.emplace_back(static_cast<size_t>(bytes), static_cast<char>('a' + i));
    }
    auto writer = SafetensorsWriter::Create(dir.File("x"), tensors, {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const std::string& bytes : data) EXPECT_TRUE(writer->Append(AsBytes(bytes)).ok());
    EXPECT_TRUE(writer->Finish().ok());
    const std::string file = Written(dir.File("x"));
    const auto entries = ParseSafetensors(AsBytes(file), "x", {});
    ASSERT_TRUE(entries.ok()) << entries.status();
    ASSERT_EQ(entries->size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const auto entry =
          std::find_if(entries->begin(), entries->end(),
                       [&](const SafetensorsEntry& e) { return e.name == tensors[i].name; });
      ASSERT_NE(entry, entries->end());
      EXPECT_EQ(entry->shape, tensors[i].shape);
      EXPECT_EQ(entry->dtype_name, "F32");
      EXPECT_EQ(Text(entry->data), data[i]);
    }
  }
}

TEST(SafetensorsWriter, WritesAFileWithoutTensors) {
  const TempDir dir;
  auto writer = SafetensorsWriter::Create(dir.File("x"), {}, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(writer->Finish().ok());
  const std::string file = Written(dir.File("x"));
  const auto entries = ParseSafetensors(AsBytes(file), "x", {});
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(*entries, IsEmpty());
}

TEST(SafetensorsWriter, RefusesAHeaderThatNoReaderWouldTake) {
  const TempDir dir;
  const std::vector<OutputTensor> tensors = {{std::string(size_t{17} << 20, 'n'), "U8", {0}, 0}};
  const auto writer = SafetensorsWriter::Create(dir.File("x"), tensors, {});
  EXPECT_TRUE(absl::IsInvalidArgument(writer.status())) << writer.status();
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("write smaller shards"));
}

TEST(SafetensorsWriter, NeverOverwrites) {
  const TempDir dir;
  dir.Write("x", "kept");
  EXPECT_TRUE(absl::IsAlreadyExists(SafetensorsWriter::Create(dir.File("x"), {}, {}).status()));
  EXPECT_EQ(Written(dir.File("x")), "kept");
}

TEST(SafetensorsWriterDeathTest, InsistsOnAsMuchDataAsItsHeaderSays) {
  const TempDir dir;
  const std::vector<OutputTensor> tensors = {{"a", "U8", {3}, 3}};
  auto writer = SafetensorsWriter::Create(dir.File("x"), tensors, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_DEATH((void)writer->Append(AsBytes("aaaa")), "1 bytes more");
  EXPECT_TRUE(writer->Append(AsBytes("aa")).ok());
  EXPECT_DEATH((void)writer->Finish(), "1 bytes less");
}

}  // namespace
}  // namespace quire
