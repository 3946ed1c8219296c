#include "core/kv/kv_layout.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

using kernels::DType;

KvLayout Uniform(int32_t layers, int32_t kv_groups, int32_t head_dim, int32_t block_tokens = 16,
                 DType dtype = DType::kBF16) {
  KvLayout layout;
  layout.block_tokens = block_tokens;
  layout.dtype = dtype;
  layout.layers.assign(static_cast<size_t>(layers), {kv_groups, head_dim});
  return layout;
}

TEST(KvLayoutTest, BlockSizeFollowsFromTheKvGroups) {
  const struct {
    const char* what;
    KvLayout layout;
    size_t token_bytes, block_bytes;
  } cases[] = {
      {"MHA: 32 groups for 32 heads", Uniform(32, 32, 128), 524288, 8388608},
      {"GQA: 8 groups take a quarter", Uniform(32, 8, 128), 131072, 2097152},
      {"MQA: 1 group takes a 32nd", Uniform(32, 1, 128), 16384, 262144},
      {"blocks of 32 tokens are twice as large", Uniform(32, 8, 128, 32), 131072, 4194304},
      {"f32 takes twice as much", Uniform(32, 8, 128, 16, DType::kF32), 262144, 4194304},
      {"f16 takes what bf16 takes", Uniform(32, 8, 128, 16, DType::kF16), 131072, 2097152},
      {"fp8 takes half, and a scale of 4 bytes a row", Uniform(32, 8, 128, 16, DType::kF8E4M3),
       67584, 1081344},
      {"one small layer", Uniform(1, 1, 4), 16, 256},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    EXPECT_EQ(c.layout.TokenBytes(), c.token_bytes);
    EXPECT_EQ(c.layout.BlockBytes(), c.block_bytes);
  }
}

TEST(KvLayoutTest, EveryLayerIsAlignedForItself) {
  const KvLayout layout = Uniform(3, 1, 5);  // 16 * 2 * 5 * 2 = 320 bytes a layer
  EXPECT_EQ(layout.LayerBytes(0), 512u);
  EXPECT_EQ(layout.LayerOffset(0), 0u);
  EXPECT_EQ(layout.LayerOffset(1), 512u);
  EXPECT_EQ(layout.LayerOffset(3), layout.BlockBytes());
  EXPECT_EQ(layout.BlockBytes(), 1536u);
  EXPECT_EQ(layout.TokenBytes(), 60u) << "without the alignment";
}

TEST(KvLayoutTest, GroupsAndHeadSizesMayDifferFromLayerToLayer) {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.layers = {{4, 64}, {1, 128}, {2, 4}};
  const size_t bytes[] = {16384, 8192, 512}, offsets[] = {0, 16384, 24576};
  for (size_t l = 0; l < 3; ++l) {
    EXPECT_EQ(layout.LayerBytes(l), bytes[l]);
    EXPECT_EQ(layout.LayerOffset(l), offsets[l]);
  }
  EXPECT_EQ(layout.BlockBytes(), 25088u);
  EXPECT_EQ(layout.TokenBytes(), size_t{2 * 2 * (4 * 64 + 128 + 2 * 4)});
}

TEST(KvLayoutTest, TokensTakeWholeBlocks) {
  const KvLayout layout = Uniform(1, 1, 4);
  const struct {
    int64_t tokens;
    int32_t blocks;
  } cases[] = {{0, 0}, {1, 1}, {15, 1}, {16, 1}, {17, 2}, {32, 2}, {INT32_MAX, 134217728}};
  for (const auto& c : cases) EXPECT_EQ(layout.BlocksFor(c.tokens), c.blocks) << c.tokens;
}

TEST(KvLayoutTest, ViewsCarryEachLayersShapeAndPlace) {
  KvLayout layout;
  layout.block_tokens = 32;
  layout.dtype = DType::kF32;
  layout.layers = {{4, 64}, {1, 128}};
  std::byte arena[1];
  const std::vector<kernels::KvLayerView> views = layout.LayerViews(arena);
  ASSERT_EQ(views.size(), 2u);
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_EQ(views[l].base, arena);
    EXPECT_EQ(views[l].layer_offset, layout.LayerOffset(l));
    EXPECT_EQ(views[l].block_tokens, 32);
    EXPECT_EQ(views[l].kv_groups, layout.layers[l].kv_groups);
    EXPECT_EQ(views[l].head_dim, layout.layers[l].head_dim);
    EXPECT_EQ(views[l].dtype, DType::kF32);
  }
}

TEST(KvLayoutTest, TheTilesOfALayerFillItWithoutOverlap) {
  const KvLayout layout = Uniform(2, 3, 64);
  std::vector<std::byte> arena(2 * layout.BlockBytes());
  const auto block_units = static_cast<uint32_t>(layout.BlockBytes() / kernels::kKvOffsetUnit);
  std::byte* expected = arena.data() + layout.BlockBytes();
  for (const kernels::KvLayerView& view : layout.LayerViews(arena.data())) {
    for (int32_t g = 0; g < 3; ++g, expected += view.TileBytes()) {
      EXPECT_EQ(view.KTile(block_units, g), expected);
      EXPECT_EQ(view.VTile(block_units, g), expected + 3 * view.TileBytes());
    }
    expected += 3 * view.TileBytes();
  }
  EXPECT_EQ(expected, arena.data() + arena.size());
}

TEST(KvLayoutTest, Fp8ScalesFollowTheTilesOfTheirLayer) {
  KvLayout layout = Uniform(2, 3, 80, 32, DType::kF8E4M3);
  layout.layers[1].kv_groups = 1;
  std::byte arena[1];
  const std::vector<kernels::KvLayerView> views = layout.LayerViews(arena);
  const size_t tiles[] = {2 * 3 * 32 * 80, 2 * 32 * 80}, scales[] = {2 * 3 * 32 * 4, 2 * 32 * 4};
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_EQ(views[l].TileBytes(), 32u * 80);
    EXPECT_EQ(views[l].ScaleOffset(), tiles[l]);
    EXPECT_EQ(views[l].LayerBytes(), tiles[l] + scales[l]);
    EXPECT_EQ(layout.LayerBytes(l) % kernels::kKvOffsetUnit, 0u);
    EXPECT_GE(layout.LayerBytes(l), views[l].LayerBytes());
    EXPECT_LT(layout.LayerBytes(l), views[l].LayerBytes() + kernels::kKvOffsetUnit);
  }
  EXPECT_EQ(views[1].layer_offset, layout.LayerBytes(0));
  EXPECT_EQ(layout.TokenBytes(), size_t{2 * (3 + 1) * (80 + 4)});
}

TEST(KvLayoutDeathTest, ALayerThatDoesNotExistHasNoSize) {
  EXPECT_DEATH((void)Uniform(2, 1, 4).LayerBytes(2), "layer < layers.size");
}

}  // namespace
}  // namespace quire
