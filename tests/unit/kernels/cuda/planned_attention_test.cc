#include "kernels/cuda/planned_attention.h"

#include <bit>
#include <cstring>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/simt/emulated_runtime.h"

namespace quire::kernels::cuda {
namespace {

constexpr uint32_t kSeed = 20241124;
constexpr int32_t kMaxSequences = 64;
constexpr BatchCapacity kWhole = {.tokens = 512, .sequences = 64, .table_entries = 1};

std::vector<int32_t> OneTokenEach(int32_t sequences) {
  std::vector<int32_t> q_start;
  for (int32_t i = 0; i <= sequences; ++i) q_start.push_back(i);
  return q_start;
}

BatchCapacity Bucket(int32_t sequences) {
  return {.tokens = sequences, .sequences = sequences, .table_entries = 1};
}

AttentionPlanOptions RandomOptions(std::mt19937* random) {
  constexpr int32_t kQPerGroup[] = {1, 3, 4, 8, 16, 17, 32, 64, 71};
  constexpr int32_t kHeadDim[] = {64, 128, 256};
  constexpr int32_t kWindows[] = {0, 0, 100, 2048};
  return {.q_per_group = kQPerGroup[(*random)() % std::size(kQPerGroup)],
          .groups = static_cast<int32_t>(1 + (*random)() % 9),
          .head_dim = kHeadDim[(*random)() % std::size(kHeadDim)],
          .window = kWindows[(*random)() % std::size(kWindows)],
          .resident_blocks = static_cast<int32_t>(1 + (*random)() % 400),
          .split = (*random)() % 2 == 0 ? 0 : kAttentionSplit};
}

// Of one order of magnitude in a batch, sometimes with one that is much longer.
std::vector<int32_t> RandomLengths(int32_t sequences, std::mt19937* random) {
  const uint32_t longest = 1u << (*random)() % 17;
  std::vector<int32_t> lengths;
  for (int32_t i = 0; i < sequences; ++i) {
    lengths.push_back(static_cast<int32_t>(1 + (*random)() % longest));
  }
  if ((*random)() % 4 == 0) lengths[0] = 100000;
  return lengths;
}

// A graph is launched with the grid of its bucket, whatever the step.
TEST(PlannedAttentionTest, DecodePlansOfABucketFitItsGrid) {
  std::mt19937 random(kSeed);
  const auto gpu = simt::MakeTestGpu();
  for (int round = 0; round < 1000; ++round) {
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", round " << round);
    const AttentionPlanOptions options = RandomOptions(&random);
    std::unique_ptr<PlannedAttention> planned;
    ASSERT_TRUE(PlannedAttention::Create(gpu.get(), kWhole, options, &planned).ok());
    const auto sequences = static_cast<int32_t>(1 + random() % kMaxSequences);
    const auto bucket =
        Bucket(static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(sequences))));
    const std::vector<int32_t> lengths = RandomLengths(sequences, &random);
    planned->Upload(bucket, {OneTokenEach(sequences), lengths});
    const AttentionGrid step = planned->StepGrid();
    const AttentionGrid grid = planned->DecodeGrid(bucket);
    EXPECT_LE(step.merges, grid.merges);
    EXPECT_LE(step.merge_rows, grid.merge_rows);
    int32_t sizes = 0;
    for (int32_t tile = 0; tile < kAttentionTiles; ++tile) {
      EXPECT_LE(step.items[tile], grid.items[tile]) << "tiles of size " << tile;
      if (grid.items[tile] > 0) ++sizes;
    }
    EXPECT_EQ(sizes, 1);
  }
}

// One sequence on a large GPU: not one block for each slot that there might be.
TEST(PlannedAttentionTest, TheGridOfASmallBucketIsSmall) {
  const auto gpu = simt::MakeTestGpu();
  std::unique_ptr<PlannedAttention> planned;
  const AttentionPlanOptions options = {.q_per_group = 4, .groups = 8, .resident_blocks = 396};
  ASSERT_TRUE(PlannedAttention::Create(gpu.get(), kWhole, options, &planned).ok());
  const AttentionGrid grid = planned->DecodeGrid(Bucket(1));
  EXPECT_EQ(grid.items[0], 1 + 50);
  EXPECT_EQ(grid.merges, 1);
}

TEST(PlannedAttentionTest, OneCopyBringsThePlanAndItsMergesRightBehindTheItems) {
  const auto gpu = simt::MakeTestGpu();
  std::unique_ptr<PlannedAttention> planned;
  const AttentionPlanOptions options = {.resident_blocks = 16};
  ASSERT_TRUE(PlannedAttention::Create(gpu.get(), kWhole, options, &planned).ok());
  const std::vector<int32_t> lengths = {5000, 20, 3000};
  planned->Upload(kWhole, {OneTokenEach(3), lengths});
  gpu->RecordEvent()->Wait();
  const AttentionHeader& header = *planned->header();
  EXPECT_EQ(header.merge_count, 2);
  std::vector<AttentionMerge> merges(2);
  std::memcpy(merges.data(),
              reinterpret_cast<const std::byte*>(planned->items()) + header.merges_offset,
              merges.size() * sizeof(AttentionMerge));
  EXPECT_EQ(header.merges_offset, planned->plan().items().size() * sizeof(AttentionItem));
  for (size_t i = 0; i < merges.size(); ++i) {
    EXPECT_EQ(merges[i].first_slot, planned->plan().merges()[i].first_slot);
    EXPECT_EQ(merges[i].ranges, planned->plan().merges()[i].ranges);
  }
  EXPECT_EQ(planned->StepGrid().merge_rows, 1);
}

TEST(PlannedAttentionTest, DiesOnADecodeStepBeyondItsCapacity) {
  const auto gpu = simt::MakeTestGpu();
  std::unique_ptr<PlannedAttention> planned;
  ASSERT_TRUE(PlannedAttention::Create(gpu.get(), kWhole, {}, &planned).ok());
  const std::vector<int32_t> lengths(16, 64);
  EXPECT_DEATH(planned->Upload(Bucket(4), {OneTokenEach(16), lengths}), "check failed");
}

}  // namespace
}  // namespace quire::kernels::cuda
