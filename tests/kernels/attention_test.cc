#include <gtest/gtest.h>

#include <algorithm>

#include "tests/kernels/kv_fixture.h"

namespace quire::kernels {
namespace {

// Sequences with random Q, K and V whose K and V have been written to paged blocks.
class AttentionTest : public KvFixture {
 protected:
  struct Sequence {
    MatrixF q, k, v;  // of all its tokens
    std::vector<uint32_t> blocks;

    int32_t length() const { return static_cast<int32_t>(k.rows); }
    SequencePart Part(int32_t q_begin, int32_t q_end) const {
      return {q_end - q_begin, q_end, blocks};
    }
  };

  Sequence NewSequence(const KvShape& shape, Arena* arena, int32_t length,
                       std::mt19937_64& random) {
    Sequence sequence;
    sequence.q = RandomMatrix(random, length, shape.q_width(), 1.5f, shape.type.act);
    sequence.k = RandomMatrix(random, length, shape.kv_width(), 1.5f, shape.type.act);
    sequence.v = RandomMatrix(random, length, shape.kv_width(), 1, shape.type.act);
    sequence.blocks = arena->Take(shape.BlocksFor(length));
    WriteKv(shape, *arena, sequence);
    return sequence;
  }

  void WriteKv(const KvShape& shape, const Arena& arena, const Sequence& sequence) {
    RunRope(shape, arena, {sequence.Part(0, sequence.length())},
            Beside({sequence.q, sequence.k, sequence.v}),
            CosSinTable(sequence.length(), shape.head_dim, 0));
  }

  MatrixF Attend(const KvShape& shape, const Arena& arena, const Sequence& sequence,
                 int32_t q_begin, int32_t q_end) {
    return RunAttention(shape, arena, {sequence.Part(q_begin, q_end)},
                        RowsOf(sequence.q, q_begin, q_end));
  }

  static testing::AssertionResult MatchesReference(const KvShape& shape, const Sequence& sequence,
                                                   int32_t q_len, const MatrixF& got) {
    const int64_t length = sequence.k.rows;
    const MatrixF q = RowsOf(sequence.q, length - q_len, length);
    const reference::ScoreRule rule{1 / std::sqrt(static_cast<float>(shape.head_dim)),
                                    shape.softcap, shape.window};
    const bool int8 = shape.type.int8;
    const MatrixF k = int8 ? AsInt8(sequence.k, shape.head_dim) : sequence.k;
    const MatrixF v = int8 ? AsInt8(sequence.v, shape.head_dim) : sequence.v;
    const MatrixD exact = reference::Attention<double>(
        Cast<double>(q), Cast<double>(k), Cast<double>(v), shape.head_dim, rule, DType::kF32);
    MatrixF naive_q = q;
    if (int8) {  // its queries and probabilities are in 16 bits
      for (float& x : naive_q.data) x = std::nearbyint(x * 1024) / 1024;
    }
    const MatrixF naive =
        reference::Attention<float>(naive_q, k, v, shape.head_dim, rule, shape.type.act);
    return IsClose(got, exact, Rounded(naive, shape.type.act));
  }
};

TEST_P(AttentionTest, DecodeIsAsCloseToExactAsTheNaiveOneAtEveryLengthEdge) {
  auto random = Random(1);
  for (KvType type : kKvTypes) {
    const KvShape shape{4, 2, 64, 16, type};
    for (int32_t length : {1, 2, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1025}) {
      Arena arena = MakeArena(shape, shape.BlocksFor(length) + 1, random);
      const Sequence sequence = NewSequence(shape, &arena, length, random);
      EXPECT_TRUE(
          MatchesReference(shape, sequence, 1, Attend(shape, arena, sequence, length - 1, length)))
          << type << " length " << length;
    }
  }
}

TEST_P(AttentionTest, EveryHeadSizeGroupCountAndBlockSizeMatchesTheReference) {
  auto random = Random(2);
  const KvShape shapes[] = {{4, 4, 64, 16},  {4, 1, 64, 32},  {6, 2, 80, 16},
                            {7, 1, 16, 64},  {5, 5, 128, 16}, {8, 2, 256, 16},
                            {71, 1, 16, 16}, {3, 3, 48, 128}, {6, 2, 16, 512}};
  for (KvType type : kKvTypes) {
    for (KvShape shape : shapes) {
      shape.type = type;
      for (int32_t length : {shape.block_tokens - 1, shape.block_tokens, shape.block_tokens + 1}) {
        Arena arena = MakeArena(shape, shape.BlocksFor(length) + 1, random);
        const Sequence sequence = NewSequence(shape, &arena, length, random);
        for (int32_t q_len : {1, std::min(length, 9)}) {
          EXPECT_TRUE(MatchesReference(shape, sequence, q_len,
                                       Attend(shape, arena, sequence, length - q_len, length)))
              << type << " H " << shape.heads << " G " << shape.groups << " D " << shape.head_dim
              << " P " << shape.block_tokens << " length " << length << " q_len " << q_len;
        }
      }
    }
  }
}

TEST_P(AttentionTest, AWholePromptMatchesTheReference) {
  auto random = Random(3);
  for (KvType type : kKvTypes) {
    const KvShape shape{3, 1, 32, 16, type};
    Arena arena = MakeArena(shape, 40, random);
    const Sequence sequence = NewSequence(shape, &arena, 530, random);
    EXPECT_TRUE(MatchesReference(shape, sequence, 530, Attend(shape, arena, sequence, 0, 530)))
        << type;
  }
}

// The strongest test of the split and chunk rules: one token at a time, in chunks of any size and
// all at once are the same bits.
TEST_P(AttentionTest, ARowHasTheSameBitsInEveryChunking) {
  auto random = Random(4);
  for (KvType type : kKvTypes) {
    for (int32_t heads : {1, 3, 8}) {
      const KvShape shape{heads, 1, 48, 16, type};
      const int32_t length = 600;
      Arena arena = MakeArena(shape, shape.BlocksFor(length) + 1, random);
      const Sequence sequence = NewSequence(shape, &arena, length, random);
      const MatrixF all = Attend(shape, arena, sequence, 0, length);
      for (int32_t chunk : {1, 7, 16, 100, 511, 512}) {
        for (int32_t begin = 0; begin < length; begin += chunk) {
          if (chunk == 1 && begin % 13 != 0 && begin % 64 > 2) continue;  // enough of them
          const int32_t end = std::min(begin + chunk, length);
          ASSERT_TRUE(SameBits(Attend(shape, arena, sequence, begin, end), RowsOf(all, begin, end)))
              << type << " heads " << heads << " tokens " << begin << " to " << end;
        }
      }
    }
  }
}

TEST_P(AttentionTest, ASequenceHasTheSameBitsInEveryBatch) {
  auto random = Random(5);
  for (KvType type : kKvTypes) {
    const KvShape shape{6, 2, 64, 16, type};
    Arena arena = MakeArena(shape, 200, random);
    std::vector<SequencePart> parts;
    std::vector<MatrixF> queries;
    std::vector<MatrixF> alone;
    for (auto [length, q_len] : std::vector<std::pair<int32_t, int32_t>>{
             {1, 1}, {700, 1}, {40, 40}, {513, 20}, {17, 0}, {1025, 2}}) {
      const Sequence sequence = NewSequence(shape, &arena, length, random);
      parts.push_back(sequence.Part(length - q_len, length));
      queries.push_back(RowsOf(sequence.q, length - q_len, length));
      alone.push_back(Attend(shape, arena, sequence, length - q_len, length));
    }
    EXPECT_TRUE(SameBits(RunAttention(shape, arena, parts, Below(queries)), Below(alone)));
    std::reverse(parts.begin(), parts.end());
    std::reverse(queries.begin(), queries.end());
    std::reverse(alone.begin(), alone.end());
    EXPECT_TRUE(SameBits(RunAttention(shape, arena, parts, Below(queries)), Below(alone)));
  }
}

TEST_P(AttentionTest, PhysicalBlocksDoNotMatter) {
  auto random = Random(6);
  for (KvType type : kKvTypes) {
    const KvShape shape{4, 2, 32, 16, type};
    Arena arena = MakeArena(shape, 60, random);
    Sequence sequence = NewSequence(shape, &arena, 300, random);
    const MatrixF before = Attend(shape, arena, sequence, 250, 300);
    sequence.blocks = arena.Take(shape.BlocksFor(300));
    WriteKv(shape, arena, sequence);
    EXPECT_TRUE(SameBits(Attend(shape, arena, sequence, 250, 300), before));
  }
}

// 0 x NaN is NaN: a masked position must be left out, not multiplied by zero.
TEST_P(AttentionTest, WhatComesAfterATokenCannotReachIt) {
  auto random = Random(7);
  for (KvType type : kKvTypes) {
    const KvShape shape{4, 2, 32, 16, type};
    for (int32_t length : {17, 33, 65, 514}) {
      Arena arena = MakeArena(shape, 80, random);
      Sequence sequence = NewSequence(shape, &arena, length, random);
      const MatrixF clean = Attend(shape, arena, sequence, 0, length - 1);
      std::fill(sequence.k.data.end() - shape.kv_width(), sequence.k.data.end(), NAN);
      std::fill(sequence.v.data.end() - shape.kv_width(), sequence.v.data.end(), INFINITY);
      WriteKv(shape, arena, sequence);
      const MatrixF got = Attend(shape, arena, sequence, 0, length);
      EXPECT_TRUE(SameBits(RowsOf(got, 0, length - 1), clean)) << length;
      for (int64_t c = 0; c < got.cols; ++c) EXPECT_FALSE(std::isfinite(got.at(length - 1, c)));
    }
  }
}

// Whole tiles of rows and of tokens are multiplied where some of the rows see only a part.
TEST_P(AttentionTest, ATokenThatIsNotFiniteReachesThoseWhoSeeItAlone) {
  auto random = Random(16);
  const int32_t length = 200;
  for (KvType type : kKvTypes) {
    for (int32_t window : {0, 70}) {
      for (int32_t heads : {1, 3}) {
        const KvShape shape{heads, 1, 64, 16, type, window};
        Arena arena = MakeArena(shape, shape.BlocksFor(length), random);
        Sequence sequence = NewSequence(shape, &arena, length, random);
        const Sequence finite = sequence;
        const MatrixF clean = Attend(shape, arena, sequence, 0, length);
        for (int32_t bad : {0, 31, 60, 127, 130}) {
          sequence = finite;
          std::fill_n(sequence.k.data.begin() + bad * shape.kv_width(), shape.kv_width(), NAN);
          std::fill_n(sequence.v.data.begin() + bad * shape.kv_width(), shape.kv_width(), INFINITY);
          WriteKv(shape, arena, sequence);
          const MatrixF got = Attend(shape, arena, sequence, 0, length);
          for (int32_t row = 0; row < length; ++row) {
            if (row >= bad && (window == 0 || row < bad + window)) {
              EXPECT_FALSE(std::isfinite(got.at(row, 0))) << type << " row " << row;
            } else {
              EXPECT_TRUE(SameBits(RowsOf(got, row, row + 1), RowsOf(clean, row, row + 1)))
                  << type << " token " << bad << " window " << window << " row " << row;
            }
          }
        }
      }
    }
  }
}

TEST_P(AttentionTest, HugeScoresNeitherOverflowNorVanish) {
  const KvShape shape{1, 1, 16, 16, DType::kF32};
  auto random = Random(8);
  Arena arena = MakeArena(shape, 40, random);
  Sequence sequence = NewSequence(shape, &arena, 600, random);
  for (float& x : sequence.q.data) x *= 1000;
  WriteKv(shape, arena, sequence);
  EXPECT_TRUE(MatchesReference(shape, sequence, 30, Attend(shape, arena, sequence, 570, 600)));
}

TEST_P(AttentionTest, AnEmptyBatchIsFine) {
  const KvShape shape{2, 1, 16, 16, DType::kBF16};
  auto random = Random(9);
  const Arena arena = MakeArena(shape, 1, random);
  EXPECT_TRUE(RunAttention(shape, arena, {}, MatrixF(0, 32)).data.empty());
}

struct Masking {
  int32_t window;
  float softcap;
};
// Windows around a token, a vector, a block, a chunk and a split, and wider than the sequence.
constexpr Masking kMaskings[] = {{1, 0},   {2, 0},   {3, 5},   {15, 0},     {17, 2},
                                 {127, 0}, {128, 0}, {129, 0}, {511, 0},    {512, 3},
                                 {513, 0}, {0, 1},   {0, 50},  {1 << 24, 0}};
constexpr Masking kChunkedMaskings[] = {{1, 0}, {7, 0}, {100, 3}, {128, 0}, {300, 0}, {513, 2}};

TEST_P(AttentionTest, DecodeWithAWindowOrASoftCapMatchesTheReferenceAtEveryLengthEdge) {
  auto random = Random(10);
  for (KvType type : kKvTypes) {
    for (const Masking& masking : kMaskings) {
      const KvShape shape{4, 2, 16, 16, type, masking.window, masking.softcap};
      for (int32_t length : {1, 2, 17, 129, 513, 640, 1030}) {
        Arena arena = MakeArena(shape, shape.BlocksFor(length) + 1, random);
        const Sequence sequence = NewSequence(shape, &arena, length, random);
        EXPECT_TRUE(MatchesReference(shape, sequence, 1,
                                     Attend(shape, arena, sequence, length - 1, length)))
            << type << " window " << shape.window << " softcap " << shape.softcap << " length "
            << length;
      }
    }
  }
}

TEST_P(AttentionTest, AWholePromptWithAWindowOrASoftCapMatchesTheReference) {
  auto random = Random(11);
  for (KvType type : kKvTypes) {
    for (const Masking& masking : kMaskings) {
      const KvShape shape{2, 1, 16, 16, type, masking.window, masking.softcap};
      Arena arena = MakeArena(shape, 40, random);
      const Sequence sequence = NewSequence(shape, &arena, 530, random);
      EXPECT_TRUE(MatchesReference(shape, sequence, 530, Attend(shape, arena, sequence, 0, 530)))
          << type << " window " << shape.window << " softcap " << shape.softcap;
    }
  }
}

TEST_P(AttentionTest, AWindowWiderThanTheSequenceChangesNoBit) {
  auto random = Random(12);
  for (KvType type : kKvTypes) {
    KvShape shape{6, 2, 48, 16, type};
    Arena arena = MakeArena(shape, 50, random);
    const Sequence sequence = NewSequence(shape, &arena, 700, random);
    const MatrixF full = Attend(shape, arena, sequence, 0, 700);
    for (int32_t window : {700, 701, 1 << 24}) {
      shape.window = window;
      EXPECT_TRUE(SameBits(Attend(shape, arena, sequence, 0, 700), full)) << window;
    }
  }
}

TEST_P(AttentionTest, ARowWithAWindowHasTheSameBitsInEveryChunking) {
  auto random = Random(13);
  for (KvType type : kKvTypes) {
    for (const Masking& masking : kChunkedMaskings) {
      for (int32_t heads : {1, 3}) {
        const KvShape shape{heads, 1, 48, 16, type, masking.window, masking.softcap};
        const int32_t length = 700;
        Arena arena = MakeArena(shape, shape.BlocksFor(length) + 1, random);
        const Sequence sequence = NewSequence(shape, &arena, length, random);
        const MatrixF all = Attend(shape, arena, sequence, 0, length);
        for (int32_t chunk : {1, 7, 100, 511}) {
          for (int32_t begin = 0; begin < length; begin += chunk) {
            if (chunk == 1 && begin % 13 != 0 && begin % 64 > 2) continue;  // enough of them
            const int32_t end = std::min(begin + chunk, length);
            ASSERT_TRUE(
                SameBits(Attend(shape, arena, sequence, begin, end), RowsOf(all, begin, end)))
                << type << " heads " << heads << " window " << shape.window << " tokens " << begin
                << " to " << end;
          }
        }
      }
    }
  }
}

// Such blocks may hold another sequence's values by then, and their table entries anything: these
// here lead far outside the arena.
TEST_P(AttentionTest, BlocksBehindTheWindowAreNotRead) {
  constexpr uint32_t kNowhere = 0xfffffff0u;
  auto random = Random(14);
  for (KvType type : kKvTypes) {
    for (int32_t window : {1, 16, 20, 130, 520}) {
      const KvShape shape{4, 2, 32, 16, type, window};
      const int32_t length = 1100;
      Arena arena = MakeArena(shape, shape.BlocksFor(length), random);
      Sequence sequence = NewSequence(shape, &arena, length, random);
      for (int32_t q_len : {1, 3, 40}) {
        const MatrixF before = Attend(shape, arena, sequence, length - q_len, length);
        const int32_t first_seen = std::max(0, length - q_len - window + 1);
        Sequence cut = sequence;
        std::fill_n(cut.blocks.begin(), first_seen / shape.block_tokens, kNowhere);
        EXPECT_TRUE(SameBits(Attend(shape, arena, cut, length - q_len, length), before))
            << "window " << window << " q_len " << q_len;
      }
    }
  }
}

// In the block in which a window begins, what lies before it may be NaN as well.
TEST_P(AttentionTest, WhatLiesBeforeItsWindowCannotReachAToken) {
  auto random = Random(15);
  for (KvType type : kKvTypes) {
    for (int32_t window : {1, 9, 16, 64, 300}) {
      const KvShape shape{4, 2, 32, 16, type, window};
      for (int32_t length : {400, 401, 513}) {
        Arena arena = MakeArena(shape, shape.BlocksFor(length), random);
        Sequence sequence = NewSequence(shape, &arena, length, random);
        const MatrixF clean = Attend(shape, arena, sequence, length - 1, length);
        const auto unseen = static_cast<int64_t>(length - window) * shape.kv_width();
        std::fill_n(sequence.k.data.begin(), unseen, NAN);
        std::fill_n(sequence.v.data.begin(), unseen, INFINITY);
        WriteKv(shape, arena, sequence);
        EXPECT_TRUE(SameBits(Attend(shape, arena, sequence, length - 1, length), clean))
            << type << " window " << window << " length " << length;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, AttentionTest, testing::ValuesIn(AllDevices()), DeviceParamName);

}  // namespace
}  // namespace quire::kernels
