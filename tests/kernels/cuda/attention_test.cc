#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/kernels/cuda/attention_fixture.h"

namespace quire::kernels::cuda {
namespace {

struct Lengths {
  int32_t kv = 0;
  int32_t q = 1;
};

class CudaAttentionTest : public testing::Test {
 protected:
  std::mt19937_64 Random(uint64_t seed) {
    RecordProperty("seed", std::to_string(seed));
    seed_ = seed * 1000;
    return std::mt19937_64(seed);
  }

  // Runs a batch of random sequences and holds it to the reference. Returns the plan's merges.
  int32_t Check(const AttentionSetup& setup, const std::vector<Lengths>& lengths,
                std::mt19937_64& random) {
    std::vector<AttentionSequence> sequences;
    std::vector<AttentionPart> parts;
    sequences.reserve(lengths.size());
    for (const Lengths& length : lengths) {
      sequences.push_back(RandomSequence(setup, length.kv, random));
      parts.push_back({&sequences.back(), length.kv - length.q, length.kv});
    }
    AttentionStep step(setup, parts, random);
    const MatrixF got = step.Run(++seed_);
    EXPECT_TRUE(IsClose(got, ExactAttention(setup, parts), NaiveAttention(setup, parts)))
        << DTypeName(setup.act) << (setup.fp8 ? " fp8" : "") << " heads " << setup.heads
        << " groups " << setup.groups << " head_dim " << setup.head_dim << " block "
        << setup.block_tokens << " window " << setup.window << " softcap " << setup.softcap
        << " first length " << lengths.front().kv << " seed " << seed_;
    return step.plan().header().merge_count;
  }

  MatrixF Attend(const AttentionSetup& setup, const std::vector<AttentionPart>& parts,
                 std::mt19937_64& random) {
    return AttentionStep(setup, parts, random).Run(++seed_);
  }

  uint64_t seed_ = 0;
};

TEST_F(CudaAttentionTest, DecodeMatchesTheReferenceAtEveryLengthEdge) {
  auto random = Random(1);
  for (DType act : kGpuActTypes) {
    const AttentionSetup setup{.heads = 4, .groups = 2, .act = act};
    Check(setup, {{1}, {2}, {15}, {16}, {17}, {63}, {64}, {65}, {127}, {128}, {129}, {257}},
          random);
  }
}

TEST_F(CudaAttentionTest, EveryNumberOfHeadsAGroupMatchesTheReference) {
  auto random = Random(2);
  for (int32_t q_per_group : {1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 71}) {
    const AttentionSetup setup{.heads = q_per_group, .groups = 1};
    Check(setup, {{70}, {16}}, random);
    Check(setup, {{40, 5}, {66}}, random);
  }
}

TEST_F(CudaAttentionTest, EveryHeadSizeAndBlockSizeMatchesTheReference) {
  auto random = Random(3);
  for (int32_t head_dim : {16, 48, 64, 80, 96, 112, 128, 256}) {
    for (int32_t block_tokens : {16, 32, 64, 512}) {
      const DType act = block_tokens == 32 ? DType::kF16 : DType::kBF16;
      const AttentionSetup setup{4, 2, head_dim, block_tokens, act};
      Check(setup, {{block_tokens == 512 ? 65 : block_tokens + 1}, {31, 20}}, random);
    }
  }
}

TEST_F(CudaAttentionTest, PromptsMatchTheReferenceInEveryTile) {
  auto random = Random(4);
  for (DType act : kGpuActTypes) {
    for (int32_t head_dim : {64, 128, 256}) {
      const AttentionSetup setup{.heads = 3, .groups = 1, .head_dim = head_dim, .act = act};
      for (int32_t q : {6, 21, 22, 43, 50}) Check(setup, {{130, q}}, random);  // 3 rows each
    }
  }
}

TEST_F(CudaAttentionTest, MixedBatchesWhoseKvIsCutMatchTheReference) {
  auto random = Random(5);
  AttentionSetup setup{.heads = 4, .groups = 2, .resident_blocks = 64};
  for (DType act : kGpuActTypes) {
    setup.act = act;
    EXPECT_GE(Check(setup, {{511}, {512}, {513}, {255}, {256}, {257}, {1}}, random), 4);
    EXPECT_GE(Check(setup, {{600}, {300, 20}, {17, 17}, {40, 2}}, random), 2);
    EXPECT_GE(Check(setup, {{530, 40}, {900}}, random), 2);
  }
  setup.head_dim = 48;  // in a kernel for 64
  EXPECT_GE(Check(setup, {{513}, {300, 20}}, random), 1);
}

TEST_F(CudaAttentionTest, EmptySequencesAndEmptyBatchesAreFine) {
  auto random = Random(6);
  const AttentionSetup setup;
  Check(setup, {{17}, {33, 0}, {5, 5}, {20, 0}}, random);
  EXPECT_TRUE(Attend(setup, {}, random).data.empty());
}

struct Masking {
  int32_t window;
  float softcap;
};
constexpr Masking kMaskings[] = {{1, 0},   {2, 0},   {15, 0},  {17, 2}, {63, 0}, {64, 0},
                                 {65, 30}, {128, 0}, {300, 0}, {0, 1},  {0, 50}, {1 << 24, 0}};

TEST_F(CudaAttentionTest, WindowsAndSoftCapsMatchTheReference) {
  auto random = Random(7);
  for (const Masking& masking : kMaskings) {
    AttentionSetup setup{.heads = 2, .groups = 1, .window = masking.window};
    setup.softcap = masking.softcap;
    for (int32_t resident : {1, 8}) {
      setup.resident_blocks = resident;
      Check(setup, {{1}, {64}, {65}, {193}, {330}}, random);
      Check(setup, {{150, 70}, {90, 30}}, random);
    }
  }
}

TEST_F(CudaAttentionTest, Fp8KvMatchesTheReferenceInEveryTile) {
  auto random = Random(8);
  for (DType act : kGpuActTypes) {
    for (int32_t head_dim : {64, 80, 128, 256}) {
      const AttentionSetup setup{2, 1, head_dim, 16, act, true};
      Check(setup, {{1}, {15}, {17}, {66}, {130}}, random);
      Check(setup, {{70, 33}, {40, 10}, {129}}, random);
    }
  }
  AttentionSetup cut{.heads = 4, .groups = 2, .fp8 = true, .window = 400, .resident_blocks = 64};
  EXPECT_GE(Check(cut, {{700}, {300, 20}}, random), 1);
  // So few that each token's scale counts, those of a window's begin among them.
  for (int32_t window : {5, 6, 7, 8}) {
    Check({.heads = 2, .groups = 1, .fp8 = true, .window = window}, {{67}, {40, 3}}, random);
  }
}

TEST_F(CudaAttentionTest, HugeScoresNeitherOverflowNorVanish) {
  auto random = Random(9);
  const AttentionSetup setup{.heads = 2, .groups = 1};
  AttentionSequence sequence = RandomSequence(setup, 200, random);
  for (float& x : sequence.q.data) x *= 1024;
  const std::vector<AttentionPart> parts = {{&sequence, 190, 200}};
  EXPECT_TRUE(IsClose(Attend(setup, parts, random), ExactAttention(setup, parts),
                      NaiveAttention(setup, parts)));
}

// 0 x NaN is NaN: a masked position must be left out, not multiplied by zero.
TEST_F(CudaAttentionTest, WhatComesAfterATokenCannotReachIt) {
  auto random = Random(12);
  for (DType act : kGpuActTypes) {
    AttentionSetup setup{.heads = 4, .groups = 2, .act = act};
    for (int32_t window : {0, 20}) {
      setup.window = window;
      for (Lengths length : {Lengths{17, 2}, {33, 8}, {66, 9}, {130, 40}, {257, 257}}) {
        AttentionSequence sequence = RandomSequence(setup, length.kv, random);
        const std::vector<AttentionPart> parts = {{&sequence, length.kv - length.q, length.kv}};
        const MatrixF clean = Attend(setup, parts, random);
        const int32_t bad = length.kv - 1 - length.q / 3;  // the rows from here on see it
        std::fill_n(&sequence.k.at(bad, 0), setup.kv_width(), NAN);
        std::fill_n(&sequence.v.at(bad, 0), setup.kv_width(), INFINITY);
        const MatrixF got = Attend(setup, parts, random);
        const int64_t first = length.q - (length.kv - bad);
        EXPECT_TRUE(SameBits(RowsOf(got, 0, first), RowsOf(clean, 0, first))) << length.kv;
        for (int64_t row = first; row < length.q; ++row) {
          const bool sees = window == 0 || row < first + window;
          for (int64_t c = 0; c < got.cols; ++c) {
            ASSERT_EQ(std::isfinite(got.at(row, c)), !sees) << length.kv << " row " << row;
          }
        }
      }
    }
  }
}

// V alone: the scores do not tell.
TEST_F(CudaAttentionTest, OneInfiniteValueReachesTheRowsThatSeeItAlone) {
  auto random = Random(13);
  const AttentionSetup setup{.heads = 3, .groups = 1};
  for (int32_t bad = 60; bad < 80; ++bad) {
    AttentionSequence sequence = RandomSequence(setup, 80, random);
    const int32_t column = bad % 16;
    sequence.v.at(bad, column) = INFINITY;
    const MatrixF got = Attend(setup, {{&sequence, 60, 80}}, random);
    for (int64_t row = 0; row < got.rows; ++row) {
      for (int64_t c = 0; c < got.cols; ++c) {
        if (row < bad - 60) {
          ASSERT_TRUE(std::isfinite(got.at(row, c))) << bad << " row " << row;
        }
      }
      ASSERT_EQ(std::isfinite(got.at(row, column)), row < bad - 60) << bad << " row " << row;
    }
  }
}

TEST_F(CudaAttentionTest, WhatLiesBeforeItsWindowCannotReachARow) {
  auto random = Random(14);
  const AttentionSetup setup{.heads = 2, .groups = 1, .window = 70};
  for (int32_t q_len : {8, 30}) {
    AttentionSequence sequence = RandomSequence(setup, 208, random);
    const int32_t begin = 208 - q_len;
    const std::vector<AttentionPart> parts = {{&sequence, begin, 208}};
    const MatrixF clean = Attend(setup, parts, random);
    const int32_t bad = begin + 1 - setup.window + 3;  // which the first four tokens see
    std::fill_n(&sequence.v.at(bad, 0), setup.kv_width(), NAN);
    const MatrixF got = Attend(setup, parts, random);
    EXPECT_TRUE(SameBits(RowsOf(got, 4, q_len), RowsOf(clean, 4, q_len))) << q_len;
    for (float x : RowsOf(got, 0, 4).data) EXPECT_TRUE(std::isnan(x)) << q_len;
  }
}

TEST_F(CudaAttentionTest, PhysicalBlocksAndTheOrderOfWarpsChangeNoBit) {
  auto random = Random(10);
  for (int32_t resident : {1, 64}) {
    const AttentionSetup setup{.heads = 4, .groups = 2, .resident_blocks = resident};
    const AttentionSequence sequence = RandomSequence(setup, 400, random);
    for (int32_t begin : {399, 370}) {
      const MatrixF first = Attend(setup, {{&sequence, begin, 400}}, random);
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(SameBits(Attend(setup, {{&sequence, begin, 400}}, random), first));
      }
    }
  }
}

// With a split: the same bits in every batch, in every chunking of the prompt and however the plan
// shares the work out.
TEST_F(CudaAttentionTest, WithAFixedSplitARowsBitsFollowFromItsSequenceAlone) {
  auto random = Random(11);
  for (const Masking& masking : {Masking{0, 0}, Masking{90, 0}, Masking{150, 20}}) {
    AttentionSetup setup{.heads = 6, .groups = 2, .window = masking.window};
    setup.softcap = masking.softcap;
    setup.split = 128;
    const AttentionSequence a = RandomSequence(setup, 300, random);
    const AttentionSequence b = RandomSequence(setup, 140, random);
    const MatrixF whole_a = Attend(setup, {{&a, 0, 300}}, random);
    const MatrixF whole_b = Attend(setup, {{&b, 0, 140}}, random);
    EXPECT_TRUE(IsClose(whole_a, ExactAttention(setup, {{&a, 0, 300}}),
                        NaiveAttention(setup, {{&a, 0, 300}})));
    for (int32_t resident : {1, 100}) {
      setup.resident_blocks = resident;
      for (int32_t begin : {0, 100, 127, 128, 129, 255, 256, 299}) {
        const int32_t end = std::min(begin + (begin % 2 == 0 ? 1 : 43), 300);
        const MatrixF got = Attend(setup, {{&b, 120, 140}, {&a, begin, end}, {&b, 30, 31}}, random);
        EXPECT_TRUE(SameBits(RowsOf(got, 0, 20), RowsOf(whole_b, 120, 140))) << begin;
        EXPECT_TRUE(SameBits(RowsOf(got, 20, 20 + end - begin), RowsOf(whole_a, begin, end)))
            << begin << " resident " << resident;
        EXPECT_TRUE(SameBits(RowsOf(got, got.rows - 1, got.rows), RowsOf(whole_b, 30, 31)));
      }
    }
  }
}

// More ranges than a warp has lanes, and heads of more columns than one takes.
TEST_F(CudaAttentionTest, TilesCutIntoManyRangesMergeToTheBitsOfOneBlock) {
  auto random = Random(15);
  for (int32_t head_dim : {48, 80, 128, 256}) {
    AttentionSetup setup{.heads = 3, .groups = 1, .head_dim = head_dim};
    setup.split = 64;
    const AttentionSequence sequence = RandomSequence(setup, 64 * 70 + 9, random);
    for (const auto& [begin, end] :
         {std::pair{64 * 32 - 1, 64 * 32}, {64 * 32, 64 * 32 + 5}, {64 * 70 + 1, 64 * 70 + 9}}) {
      const std::vector<AttentionPart> parts = {{&sequence, begin, end}};
      setup.resident_blocks = 1;
      const MatrixF whole = Attend(setup, parts, random);
      setup.resident_blocks = 100;
      AttentionStep step(setup, parts, random);
      EXPECT_TRUE(SameBits(step.Run(++seed_), whole)) << head_dim << " from " << begin;
      EXPECT_EQ(step.plan().merges().front().ranges, (end + 63) / 64);
      EXPECT_TRUE(IsClose(whole, ExactAttention(setup, parts), NaiveAttention(setup, parts)));
    }
  }
}

}  // namespace
}  // namespace quire::kernels::cuda
