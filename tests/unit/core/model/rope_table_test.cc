#include "core/model/rope_table.h"

#include <cmath>

#include "gtest/gtest.h"

namespace quire {
namespace {

constexpr int32_t kHeadDim = 16;
const RopeConfig kPlain = {.theta = 10000.0};
const RopeConfig kLlama31 = {.theta = 500000.0, .factor = 8.0, .original_max_positions = 8192};

// inv_freq of LlamaRotaryEmbedding in transformers 5.
TEST(RopeFrequencies, EqualThoseOfTransformersToTheLastBit) {
  const float expected[] = {0x1.0p+0f,      0x1.43d136p-2f, 0x1.99999ap-4f,  0x1.030dc6p-5f,
                            0x1.47ae14p-7f, 0x1.9e7c7p-9f,  0x1.0624dep-10f, 0x1.4b96c0p-12f};
  const std::vector<float> actual = RopeFrequencies(kPlain, kHeadDim);
  ASSERT_EQ(actual.size(), 8u);
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_EQ(actual[i], expected[i]) << i;
}

// Pairs 0 to 3 keep their frequency, pair 4 is blended and the rest is divided by 8.
TEST(RopeFrequencies, EqualThoseOfTransformersWithTheScalingOfLlama31) {
  const float expected[] = {0x1.0p+0f,       0x1.8d276p-3f,  0x1.34119p-5f,   0x1.ddee9ep-8f,
                            0x1.132ba4p-11f, 0x1.1f91fp-15f, 0x1.be2188p-18f, 0x1.5a0f4ep-20f};
  const std::vector<float> actual = RopeFrequencies(kLlama31, kHeadDim);
  ASSERT_EQ(actual.size(), 8u);
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_FLOAT_EQ(actual[i], expected[i]) << i;
}

TEST(RopeTable, HoldsCosinesThenSinesOfEachPosition) {
  const std::vector<float> table = RopeTable(kPlain, kHeadDim, 2000);
  ASSERT_EQ(table.size(), 2000u * kHeadDim);
  for (int i = 0; i < kHeadDim / 2; ++i) {
    EXPECT_EQ(table[static_cast<size_t>(i)], 1.0f);
    EXPECT_EQ(table[static_cast<size_t>(kHeadDim / 2 + i)], 0.0f);
  }
  // Position 1999 in transformers.
  const float cosines[] = {0.58406204f, -0.77810133f, 0.39757791f,  0.92789006f,
                           0.41719118f, 0.99927014f,  -0.41523740f, 0.80676526f};
  const float sines[] = {0.81170905f, -0.62813878f, -0.91756845f, 0.37285418f,
                         0.90881878f, 0.03819889f,  0.90971309f,  0.59087205f};
  const float* row = table.data() + 1999 * kHeadDim;
  for (int i = 0; i < kHeadDim / 2; ++i) {
    EXPECT_NEAR(row[i], cosines[i], 1e-6) << i;
    EXPECT_NEAR(row[kHeadDim / 2 + i], sines[i], 1e-6) << i;
  }
}

}  // namespace
}  // namespace quire
