#include <gtest/gtest.h>

#include "kernels/cpu/float_convert.h"
#include "tests/kernels/kv_fixture.h"

namespace quire::kernels {
namespace {

constexpr double kTheta = 10000;

class RopeTest : public KvFixture {
 protected:
  // One token's row of a group's K or V, read by the layout that kernels/README.md documents.
  MatrixF ReadRow(const KvShape& shape, const Arena& arena, const std::vector<uint32_t>& blocks,
                  int32_t position, int32_t group, bool is_k) {
    const uint32_t block = blocks[static_cast<size_t>(position / shape.block_tokens)];
    const int32_t slot = position % shape.block_tokens;
    const std::byte* tile = is_k ? arena.view.KTile(block, group) : arena.view.VTile(block, group);
    MatrixF row(1, shape.head_dim);
    for (int32_t d = 0; d < shape.head_dim; ++d) {
      if (shape.act == DType::kF32) {
        const int32_t index = is_k ? d * shape.block_tokens + slot : slot * shape.head_dim + d;
        std::memcpy(&row.data[static_cast<size_t>(d)], tile + index * 4, 4);
      } else {
        const int32_t index = is_k ? (d / 2 * shape.block_tokens + slot) * 2 + d % 2
                                   : (slot / 2 * shape.head_dim + d) * 2 + slot % 2;
        uint16_t bits;
        std::memcpy(&bits, tile + index * 2, 2);
        row.data[static_cast<size_t>(d)] = Bf16ToFloat(bits);
      }
    }
    return row;
  }
};

TEST_P(RopeTest, RotatesQAndKAndStoresKAndVWhereTheLayoutSays) {
  auto random = Random(1);
  for (DType act : kActTypes) {
    for (int32_t head_dim : {16, 48, 64, 80, 256}) {
      for (int32_t block_tokens : {16, 32}) {
        const KvShape shape{6, 2, head_dim, block_tokens, act};
        const int32_t length = block_tokens * 2 + 5;
        Arena arena = MakeArena(shape, 4, random);
        const std::vector<uint32_t> blocks = arena.Take(shape.BlocksFor(length));
        const MatrixF qkv =
            RandomMatrix(random, length, shape.q_width() + 2 * shape.kv_width(), 1, DType::kF32);
        std::vector<int32_t> positions(static_cast<size_t>(length));
        for (int32_t i = 0; i < length; ++i) positions[static_cast<size_t>(i)] = i;
        const MatrixF q_out = RunRope(shape, arena, {{length, length, blocks}}, qkv,
                                      CosSinTable(length, head_dim, kTheta));

        const int64_t rotated = shape.q_width() + shape.kv_width();
        const MatrixF in = Columns(qkv, 0, rotated);
        const MatrixD exact =
            reference::Rope<double>(Cast<double>(in), head_dim, positions, kTheta);
        const MatrixF naive = Rounded(reference::Rope<float>(in, head_dim, positions, kTheta), act);
        std::vector<MatrixF> k_rows;
        for (int32_t p = 0; p < length; ++p) {
          k_rows.push_back(Beside({ReadRow(shape, arena, blocks, p, 0, true),
                                   ReadRow(shape, arena, blocks, p, 1, true)}));
          const MatrixF v = Beside({ReadRow(shape, arena, blocks, p, 0, false),
                                    ReadRow(shape, arena, blocks, p, 1, false)});
          ASSERT_TRUE(SameBits(
              v,
              Rounded(Columns(RowsOf(qkv, p, p + 1), rotated, rotated + shape.kv_width()), act)));
        }
        EXPECT_TRUE(IsClose(Beside({q_out, Below(k_rows)}), exact, naive))
            << DTypeName(act) << " head_dim " << head_dim << " block " << block_tokens;
      }
    }
  }
}

TEST_P(RopeTest, ATokensQueryAndKvDoNotDependOnTheBatch) {
  auto random = Random(2);
  for (DType act : kActTypes) {
    const KvShape shape{3, 1, 32, 16, act};
    Arena arena = MakeArena(shape, 12, random);
    const std::vector<SequencePart> parts = {
        {20, 37, arena.Take(3)}, {1, 5, arena.Take(1)}, {9, 9, arena.Take(1)}};
    const std::vector<uint32_t> own = arena.Take(3);
    const MatrixF qkv =
        RandomMatrix(random, 30, shape.q_width() + 2 * shape.kv_width(), 1, DType::kF32);
    const MatrixF table = CosSinTable(40, 32, kTheta);
    const MatrixF all = RunRope(shape, arena, parts, qkv, table);

    int64_t begin = 0;
    for (const SequencePart& part : parts) {
      for (int32_t i = 0; i < part.q_len; ++i) {
        const int32_t position = part.kv_len - part.q_len + i;
        const MatrixF one =
            RunRope(shape, arena, {{1, position + 1, own}}, RowsOf(qkv, begin, begin + 1), table);
        EXPECT_TRUE(SameBits(one, RowsOf(all, begin, begin + 1)));
        for (bool is_k : {true, false}) {
          EXPECT_TRUE(SameBits(ReadRow(shape, arena, own, position, 0, is_k),
                               ReadRow(shape, arena, part.blocks, position, 0, is_k)));
        }
        ++begin;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, RopeTest, testing::ValuesIn(AllDevices()), DeviceParamName);

}  // namespace
}  // namespace quire::kernels
