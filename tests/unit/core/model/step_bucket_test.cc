#include "core/model/step_bucket.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace quire {
namespace {

using kernels::BatchCapacity;
using kernels::BatchCounts;

constexpr BatchCapacity kWhole = {
    .tokens = 1000, .sequences = 300, .table_entries = 77, .logit_rows = 200};

// Sequences of these lengths.
StepBucket BucketOfLengths(const std::vector<int32_t>& lengths, int32_t logit_rows,
                           const BatchCapacity& whole = kWhole) {
  std::vector<int32_t> q_start = {0};
  for (const int32_t length : lengths) q_start.push_back(q_start.back() + length);
  return BucketOf({.tokens = q_start.back(),
                   .sequences = static_cast<int32_t>(lengths.size()),
                   .logit_rows = logit_rows},
                  q_start, whole);
}

StepBucket DecodeBucket(int32_t sequences, const BatchCapacity& whole = kWhole) {
  return BucketOfLengths(std::vector<int32_t>(static_cast<size_t>(sequences), 1),
                         std::min(sequences, whole.logit_rows), whole);
}

void ExpectCapacity(const StepBucket& bucket, int32_t tokens, int32_t sequences,
                    int32_t logit_rows) {
  EXPECT_EQ(bucket.capacity.tokens, tokens);
  EXPECT_EQ(bucket.capacity.sequences, sequences);
  EXPECT_EQ(bucket.capacity.logit_rows, logit_rows);
  EXPECT_EQ(bucket.capacity.table_entries, kWhole.table_entries);
}

TEST(StepBucketTest, DecodeStepsComeInPowersOfTwo) {
  const struct {
    int32_t sequences, size, index;
  } cases[] = {{1, 1, 0},   {2, 2, 1},    {3, 4, 2},     {4, 4, 2},     {5, 8, 3},
               {64, 64, 6}, {65, 128, 7}, {128, 128, 7}, {129, 256, 8}, {256, 256, 8}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sequences);
    const StepBucket bucket = DecodeBucket(c.sequences);
    ExpectCapacity(bucket, c.size, c.size, std::min(c.size, kWhole.logit_rows));
    EXPECT_EQ(bucket.decode, c.index);
  }
}

TEST(StepBucketTest, ADecodeStepThatSamplesNothingIsOfTheSameBucket) {
  ExpectCapacity(BucketOfLengths({1, 1, 1}, 0), 4, 4, 4);
  EXPECT_EQ(BucketOfLengths({1, 1, 1}, 0).decode, 2);
}

TEST(StepBucketTest, OtherStepsRoundTheirTokensUpToWholeTiles) {
  ExpectCapacity(BucketOfLengths({2}, 1), 64, 1, 1);
  ExpectCapacity(BucketOfLengths({64}, 1), 64, 1, 1);
  ExpectCapacity(BucketOfLengths({60, 1, 1, 1, 2}, 5), 128, 8, 8);
  ExpectCapacity(BucketOfLengths({512}, 0), 512, 1, 0);
  ExpectCapacity(BucketOfLengths({130}, 130), 192, 1, 192);
  EXPECT_EQ(BucketOfLengths({2}, 1).decode, -1);
  EXPECT_EQ(BucketOfLengths({60, 1, 1, 1, 2}, 5).decode, -1);
}

// As many tokens as sequences, but not one each.
TEST(StepBucketTest, AnEmptySequenceMakesNoDecodeStep) {
  EXPECT_EQ(BucketOfLengths({2, 0}, 1).decode, -1);
}

TEST(StepBucketTest, ATokenWithTwoLogitRowsMakesNoDecodeStep) {
  const StepBucket bucket = BucketOfLengths({1, 1}, 3);
  EXPECT_EQ(bucket.decode, -1);
  ExpectCapacity(bucket, 64, 2, 4);
}

TEST(StepBucketTest, MoreSequencesThanTheLargestDecodeBucketAreAnotherStep) {
  const StepBucket bucket = DecodeBucket(257);
  EXPECT_EQ(bucket.decode, -1);
  ExpectCapacity(bucket, 320, 300, 200);
}

// Every step within a capacity gets a bucket that holds it and lies within the capacity, and the
// steps of one decode bucket get the same.
TEST(StepBucketTest, ABucketHoldsItsStepWithinTheWholeCapacity) {
  for (const BatchCapacity& whole :
       {BatchCapacity{.tokens = 100, .sequences = 50, .table_entries = 77, .logit_rows = 40},
        BatchCapacity{.tokens = 1, .sequences = 1, .table_entries = 77, .logit_rows = 1},
        BatchCapacity{.tokens = 3, .sequences = 7, .table_entries = 77, .logit_rows = 9}}) {
    std::vector<int32_t> sizes(kDecodeBuckets);
    for (int32_t sequences = 1; sequences <= std::min(whole.sequences, whole.tokens); ++sequences) {
      for (const int32_t length : {1, 2, 9}) {
        const int32_t tokens = sequences * length;
        if (tokens > whole.tokens) continue;
        const int32_t rows = std::min(whole.logit_rows, sequences);
        const StepBucket bucket = BucketOfLengths(
            std::vector<int32_t>(static_cast<size_t>(sequences), length), rows, whole);
        EXPECT_TRUE(bucket.capacity.tokens >= tokens && bucket.capacity.tokens <= whole.tokens);
        EXPECT_TRUE(bucket.capacity.sequences >= sequences &&
                    bucket.capacity.sequences <= whole.sequences);
        EXPECT_TRUE(bucket.capacity.logit_rows >= rows &&
                    bucket.capacity.logit_rows <= whole.logit_rows);
        EXPECT_EQ(bucket.decode >= 0, length == 1);
        if (bucket.decode < 0) continue;
        int32_t& size = sizes.at(static_cast<size_t>(bucket.decode));
        if (size == 0) size = bucket.capacity.tokens;
        EXPECT_EQ(bucket.capacity.tokens, size);
      }
    }
  }
}

}  // namespace
}  // namespace quire
