#include "core/model/gguf_source.h"

#include <functional>

#include "core/model/gguf_config.h"
#include "core/model/weights.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/model/gguf_builder.h"
#include "tests/unit/core/model/recording_device.h"

namespace quire {
namespace {

using kernels::DType;
using testing::AddTinyGgufTensors;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::RecordingDevice;
using testing::TempDir;
using testing::TinyGgufMetadata;

class GgufSourceTest : public ::testing::Test {
 protected:
  absl::Status Load(GgufBuilder builder) {
    dir_.Write("m.gguf", AddTinyGgufTensors(builder).Bytes());
    const auto config = LoadModelConfig(dir_.path());
    if (!config.ok()) return config.status();
    auto source = CheckpointSource::Open(dir_.path());
    if (!source.ok()) return source.status();
    return LoadWeights(*config, source->get(), &device_, DType::kF32, nullptr).status();
  }
  void ExpectRefused(GgufBuilder builder, const std::string& message) {
    const absl::Status status = Load(std::move(builder));
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("m.gguf: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  std::unique_ptr<WeightSource> Open(const GgufBuilder& builder) {
    dir_.Write("m.gguf", builder.Bytes());
    auto source = GgufSource::Open(dir_.File("m.gguf"), DType::kF32);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? *std::move(source) : nullptr;
  }

  TempDir dir_;
  RecordingDevice device_;
};

TEST_F(GgufSourceTest, LoadsWhatTheMetadataDescribes) {
  EXPECT_TRUE(Load(TinyGgufMetadata()).ok()) << Load(TinyGgufMetadata());
}

TEST_F(GgufSourceTest, NamesAMissingTensor) {
  ExpectRefused(TinyGgufMetadata("qwen3"), "lacks tensor 'blk.0.attn_q_norm.weight' of shape [16]");
}

TEST_F(GgufSourceTest, NamesATensorOfAnotherShape) {
  GgufBuilder builder = TinyGgufMetadata();
  builder.Remove("llama.feed_forward_length").Uint32("llama.feed_forward_length", 64);
  ExpectRefused(std::move(builder),
                "tensor 'blk.0.ffn_gate.weight' has shape [32, 32], but the metadata makes it "
                "[64, 32]");
}

TEST_F(GgufSourceTest, NamesATensorThatNothingNeeds) {
  GgufBuilder builder = TinyGgufMetadata();
  builder.OnesF32("blk.1.attn_norm.weight", {32});
  ExpectRefused(std::move(builder), "holds tensor 'blk.1.attn_norm.weight'");
}

TEST_F(GgufSourceTest, RefusesAScaleThatIsNotFinite) {
  GgufBuilder builder = TinyGgufMetadata();
  std::string blocks(4 * 34, '\1');
  blocks.replace(2 * 34, 2, "\x00\x7c", 2);  // infinity in the third row
  builder.Tensor("output.weight", 8, {4, 32}, blocks);
  ExpectRefused(std::move(builder),
                "tensor 'output.weight' has an element that is not finite, at [2, 0]");
}

// No converter writes such a file: elements of one block would come from many.
TEST_F(GgufSourceTest, RefusesReorderedElementsInBlocks) {
  for (const std::string architecture : {"llama", "qwen2"}) {
    GgufBuilder builder = TinyGgufMetadata(architecture);
    builder.OnesF32("token_embd.weight", {4, 32});
    builder.Tensor("blk.0.attn_q.bias", 8, {32}, std::string(34, '\1'));
    const auto source = Open(builder);
    ASSERT_NE(source, nullptr);
    const std::vector<TensorSpec> specs = {
        {.name = "blk.0.attn_q.bias", .vector = true, .cols = 32}};
    const absl::Status status = source->Fetch(specs).status();
    if (architecture == "qwen2") {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("m.gguf: tensor 'blk.0.attn_q.bias' has type Q8_0, but"));
  }
}

// Rows are told by their first element.
TEST_F(GgufSourceTest, PutsReorderedRowsOfQueriesAndKeysBack) {
  std::string rows;
  std::string bias;
  for (int row = 0; row < 32; ++row) {
    for (int col = 0; col < 32; ++col) rows += GgufBuilder::Number(static_cast<float>(row));
    bias += GgufBuilder::Number(static_cast<float>(row));
  }
  for (const std::string architecture : {"llama", "qwen2"}) {
    GgufBuilder builder = TinyGgufMetadata(architecture);
    builder.OnesF32("token_embd.weight", {4, 32});
    builder.Tensor("blk.0.attn_q.weight", 0, {32, 32}, rows);
    builder.Tensor("blk.0.attn_q.bias", 0, {32}, bias);
    const auto source = Open(builder);
    ASSERT_NE(source, nullptr);
    const std::vector<TensorSpec> specs = {
        {.name = "blk.0.attn_q.weight", .rows = 32, .cols = 32},
        {.name = "blk.0.attn_q.bias", .vector = true, .cols = 32}};
    const auto matrices = source->Fetch(specs);
    ASSERT_TRUE(matrices.ok()) << matrices.status();
    ASSERT_EQ((*matrices)[1].rows, 1);
    for (int row = 0; row < 32; ++row) {
      // Two heads of 16: each begins with what is at its even places.
      const int in_head = row % 16;
      const int stored = row - in_head + (in_head < 8 ? 2 * in_head : 2 * (in_head - 8) + 1);
      const auto expected = static_cast<float>(architecture == "llama" ? stored : row);
      EXPECT_EQ(static_cast<const float*>((*matrices)[0].data)[row * 32], expected) << row;
      EXPECT_EQ(static_cast<const float*>((*matrices)[1].data)[row], expected) << row;
    }
  }
}

}  // namespace
}  // namespace quire
