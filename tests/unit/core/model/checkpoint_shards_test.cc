#include "core/model/checkpoint_shards.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/model/checkpoint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<OutputTensor> Tensors(const std::vector<int64_t>& sizes) {
  std::vector<OutputTensor> tensors;
  for (const int64_t bytes : sizes) {
    tensors.push_back({absl::StrCat("t", tensors.size()), "U8", {bytes}, bytes});
  }
  return tensors;
}

// The bytes of each file.
std::vector<int64_t> Cut(const std::vector<int64_t>& sizes, int64_t max_bytes) {
  const auto shards = CutIntoShards(Tensors(sizes), max_bytes);
  EXPECT_TRUE(shards.ok()) << shards.status();
  std::vector<int64_t> bytes;
  size_t next = 0;
  for (const CheckpointShard& shard : *shards) {
    bytes.push_back(shard.bytes);
    int64_t sum = 0;
    for (const OutputTensor& tensor : shard.tensors) {
      EXPECT_EQ(tensor.name, absl::StrCat("t", next++));
      sum += tensor.bytes;
    }
    EXPECT_EQ(sum, shard.bytes);
  }
  EXPECT_EQ(next, sizes.size());
  return bytes;
}

TEST(CutIntoShards, FillsFilesUpToTheLimitInOrder) {
  EXPECT_THAT(Cut({3, 3, 3, 1, 6}, 6), ElementsAre(6, 4, 6));
  EXPECT_THAT(Cut({3, 3, 3, 1, 6}, 16), ElementsAre(16));
  EXPECT_THAT(Cut({3, 3, 3, 1, 6}, 15), ElementsAre(10, 6));
  EXPECT_THAT(Cut({0, 5, 0}, 5), ElementsAre(5));
  EXPECT_THAT(Cut({1, 2}, INT64_MAX), ElementsAre(3));
}

TEST(CutIntoShards, GivesATensorAboveTheLimitAFileForItself) {
  EXPECT_THAT(Cut({9, 1, 1, 9, 1}, 2), ElementsAre(9, 2, 9, 1));
}

TEST(CutIntoShards, NamesFilesAsTransformersDoes) {
  const auto one = CutIntoShards(Tensors({1, 1}), 2);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ((*one)[0].file_name, "model.safetensors");
  const auto two = CutIntoShards(Tensors({1, 1}), 1);
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ((*two)[0].file_name, "model-00001-of-00002.safetensors");
  EXPECT_EQ((*two)[1].file_name, "model-00002-of-00002.safetensors");
  EXPECT_EQ(nlohmann::json::parse(CheckpointIndexText(*two)), nlohmann::json::parse(R"({
    "metadata": {"total_size": 2},
    "weight_map": {"t0": "model-00001-of-00002.safetensors",
                   "t1": "model-00002-of-00002.safetensors"}})"));
}

TEST(CutIntoShards, RefusesMoreFilesThanAreRead) {
  const std::vector<int64_t> sizes(kMaxCheckpointShards + 1, 1);
  const auto shards = CutIntoShards(Tensors(sizes), 1);
  EXPECT_TRUE(absl::IsInvalidArgument(shards.status())) << shards.status();
  EXPECT_THAT(std::string(shards.status().message()), HasSubstr("allow larger shards"));
  EXPECT_TRUE(CutIntoShards(Tensors(sizes), 2).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CutIntoShards(Tensors({1}), 0).status()));
}

}  // namespace
}  // namespace quire
