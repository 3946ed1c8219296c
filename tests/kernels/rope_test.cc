#include <gtest/gtest.h>

#include <cmath>
#include <iterator>

#include "kernels/api/float_convert.h"
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
      if (shape.type.kv() == DType::kF32) {
        const int32_t index = is_k ? d * shape.block_tokens + slot : slot * shape.head_dim + d;
        std::memcpy(&row.data[static_cast<size_t>(d)], tile + index * 4, 4);
      } else if (shape.type.int8) {
        const int32_t index = is_k ? (d / 2 * shape.block_tokens + slot) * 2 + d % 2
                                   : (slot / 2 * shape.head_dim + d) * 2 + slot % 2;
        float scale;
        std::memcpy(&scale,
                    arena.view.Scales(block, is_k ? group : shape.groups + group) + slot * 4,
                    sizeof(scale));
        int8_t q;
        std::memcpy(&q, tile + index, 1);
        row.data[static_cast<size_t>(d)] = static_cast<float>(q) * scale;
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
            reference::Rope<double>(Cast<double>(in), head_dim, head_dim, positions, kTheta);
        const MatrixF naive =
            Rounded(reference::Rope<float>(in, head_dim, head_dim, positions, kTheta), act);
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

// Every head of Q and K is a row of its own to the norm; then it rotates in part.
template <typename Real>
reference::Matrix<Real> NormAndRotate(const reference::Matrix<Real>& qk, const KvShape& shape,
                                      const std::vector<float>& q_norm,
                                      const std::vector<float>& k_norm, int32_t rotary_dim,
                                      const std::vector<int32_t>& positions, Real eps) {
  reference::Matrix<Real> out = qk;
  for (int64_t head = 0; head < shape.heads + shape.groups; ++head) {
    const std::vector<float>& weights = head < shape.heads ? q_norm : k_norm;
    if (weights.empty()) continue;
    reference::Matrix<Real> one(qk.rows, shape.head_dim);
    for (int64_t r = 0; r < one.rows; ++r) {
      for (int64_t c = 0; c < one.cols; ++c) one.at(r, c) = qk.at(r, head * one.cols + c);
    }
    one = reference::RmsNorm<Real>(one, std::vector<Real>(weights.begin(), weights.end()), eps);
    for (int64_t r = 0; r < one.rows; ++r) {
      for (int64_t c = 0; c < one.cols; ++c) out.at(r, head * one.cols + c) = one.at(r, c);
    }
  }
  if (rotary_dim == 0) return out;
  return reference::Rope<Real>(out, shape.head_dim, rotary_dim, positions, kTheta);
}

TEST_P(RopeTest, NormalisesHeadsAndRotatesPartsOfThemAsTheReferenceDoes) {
  auto random = Random(3);
  for (DType act : kActTypes) {
    for (int32_t head_dim : {16, 48, 128, 256}) {
      for (int32_t rotary_dim : {0, 2, 10, head_dim - 4, head_dim}) {
        for (bool norms : {false, true}) {
          const KvShape shape{3, 2, head_dim, 16, act};
          const int32_t length = 20;
          Arena arena = MakeArena(shape, 2, random);
          const std::vector<uint32_t> blocks = arena.Take(2);
          const MatrixF qkv =
              RandomMatrix(random, length, shape.q_width() + 2 * shape.kv_width(), 2, DType::kF32);
          std::vector<int32_t> positions(static_cast<size_t>(length));
          for (int32_t i = 0; i < length; ++i) positions[static_cast<size_t>(i)] = i;
          HeadNorms weights;
          if (norms) weights.q = RandomMatrix(random, 1, head_dim, 1, DType::kF32).data;
          if (norms) weights.k = RandomMatrix(random, 1, head_dim, 1, DType::kF32).data;
          const MatrixF q_out = RunRope(shape, arena, {{length, length, blocks}}, qkv,
                                        CosSinTable(length, rotary_dim, kTheta), weights);
          std::vector<MatrixF> k_rows;
          for (int32_t p = 0; p < length; ++p) {
            k_rows.push_back(Beside({ReadRow(shape, arena, blocks, p, 0, true),
                                     ReadRow(shape, arena, blocks, p, 1, true)}));
          }
          const MatrixF qk = Columns(qkv, 0, shape.q_width() + shape.kv_width());
          const MatrixD exact = NormAndRotate<double>(Cast<double>(qk), shape, weights.q, weights.k,
                                                      rotary_dim, positions, kHeadNormEps);
          const MatrixF naive = NormAndRotate<float>(qk, shape, weights.q, weights.k, rotary_dim,
                                                     positions, kHeadNormEps);
          EXPECT_TRUE(IsClose(Beside({q_out, Below(k_rows)}), exact, Rounded(naive, act)))
              << DTypeName(act) << " head_dim " << head_dim << " rotary " << rotary_dim
              << (norms ? " with norms" : "");
        }
      }
    }
  }
}

// The same rotation and norms as with KV in f32, and then the nearest of 255 steps.
TEST_P(RopeTest, KvInInt8IsWhatItIsInF32RoundedRowByRow) {
  auto random = Random(5);
  for (int32_t head_dim : {16, 80, 256}) {
    const int32_t length = 37;
    const KvShape exact{3, 2, head_dim, 16, DType::kF32};
    KvShape narrow = exact;
    narrow.type = {DType::kF32, true};
    MatrixF qkv =
        RandomMatrix(random, length, exact.q_width() + 2 * exact.kv_width(), 2, DType::kF32);
    std::fill_n(qkv.data.begin() + exact.q_width(), 2 * exact.kv_width(), 0.0f);  // of token 0
    HeadNorms weights;
    weights.k = weights.q = RandomMatrix(random, 1, head_dim, 1, DType::kF32).data;
    const MatrixF table = CosSinTable(length, head_dim, kTheta);
    Arena arena = MakeArena(exact, 3, random);
    Arena narrow_arena = MakeArena(narrow, 3, random);
    const std::vector<uint32_t> blocks = arena.Take(3);
    const std::vector<uint32_t> narrow_blocks = narrow_arena.Take(3);
    const MatrixF q = RunRope(exact, arena, {{length, length, blocks}}, qkv, table, weights);
    EXPECT_TRUE(SameBits(
        RunRope(narrow, narrow_arena, {{length, length, narrow_blocks}}, qkv, table, weights), q));
    for (int32_t p = 0; p < length; ++p) {
      for (int32_t group : {0, 1}) {
        for (bool is_k : {true, false}) {
          EXPECT_TRUE(SameBits(ReadRow(narrow, narrow_arena, narrow_blocks, p, group, is_k),
                               AsInt8(ReadRow(exact, arena, blocks, p, group, is_k), head_dim)))
              << "token " << p << " group " << group << (is_k ? " K" : " V");
        }
      }
    }
  }
}

// Rounding their bits would make infinities of the first two and zeros of the others.
TEST_P(RopeTest, StoresEveryNanAsNan) {
  constexpr uint32_t kNans[] = {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu};
  auto random = Random(4);
  for (KvType type : kKvTypes) {
    const KvShape shape{1, 1, 32, 16, type};
    Arena arena = MakeArena(shape, 1, random);
    const std::vector<uint32_t> blocks = arena.Take(1);
    MatrixF qkv(1, shape.q_width() + 2 * shape.kv_width());
    for (size_t i = 0; i < qkv.data.size(); ++i) {
      std::memcpy(&qkv.data[i], &kNans[i % std::size(kNans)], sizeof(float));
    }
    const MatrixF q = RunRope(shape, arena, {{1, 1, blocks}}, qkv, CosSinTable(1, 0, kTheta));
    const MatrixF stored = Beside(
        {q, ReadRow(shape, arena, blocks, 0, 0, true), ReadRow(shape, arena, blocks, 0, 0, false)});
    for (size_t i = 0; i < stored.data.size(); ++i) {
      EXPECT_TRUE(std::isnan(stored.data[i])) << type << " " << i;
    }
  }
}

TEST_P(RopeTest, ATokensQueryAndKvDoNotDependOnTheBatch) {
  auto random = Random(2);
  for (KvType type : kKvTypes) {
    const KvShape shape{3, 1, 32, 16, type};
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
