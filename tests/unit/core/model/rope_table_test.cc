#include "core/model/rope_table.h"

#include <cmath>

#include "gtest/gtest.h"

namespace quire {
namespace {

constexpr int32_t kHeadDim = 16;
constexpr int32_t kPositions = 64;
const RopeConfig kPlain = {.theta = 10000.0};
const RopeConfig kLlama31 = {
    .kind = RopeKind::kLlama3, .theta = 500000.0, .factor = 8.0, .original_max_positions = 8192};

// inv_freq of LlamaRotaryEmbedding in transformers 5.
TEST(RopeFrequencies, EqualThoseOfTransformersToTheLastBit) {
  const float expected[] = {0x1.0p+0f,      0x1.43d136p-2f, 0x1.99999ap-4f,  0x1.030dc6p-5f,
                            0x1.47ae14p-7f, 0x1.9e7c7p-9f,  0x1.0624dep-10f, 0x1.4b96c0p-12f};
  const std::vector<float> actual = RopeFrequencies(kPlain, kHeadDim, kPositions);
  ASSERT_EQ(actual.size(), 8u);
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_EQ(actual[i], expected[i]) << i;
}

// Pairs 0 to 3 keep their frequency, pair 4 is blended and the rest is divided by 8.
TEST(RopeFrequencies, EqualThoseOfTransformersWithTheScalingOfLlama31) {
  const float expected[] = {0x1.0p+0f,       0x1.8d276p-3f,  0x1.34119p-5f,   0x1.ddee9ep-8f,
                            0x1.132ba4p-11f, 0x1.1f91fp-15f, 0x1.be2188p-18f, 0x1.5a0f4ep-20f};
  const std::vector<float> actual = RopeFrequencies(kLlama31, kHeadDim, kPositions);
  ASSERT_EQ(actual.size(), 8u);
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_FLOAT_EQ(actual[i], expected[i]) << i;
}

struct Scaled {
  const char* name;
  RopeConfig rope;
  int32_t positions;
  std::vector<float> expected;
};

std::vector<Scaled> ScaledRopes() {
  const RopeConfig yarn = {.kind = RopeKind::kYarn, .factor = 4, .original_max_positions = 8192};
  RopeConfig yarn_between = yarn;
  yarn_between.truncate = false;
  RopeConfig yarn_step = yarn_between;
  yarn_step.beta_fast = yarn_step.beta_slow = 2;
  const RopeConfig longrope = {.kind = RopeKind::kLongRope,
                               .original_max_positions = 4096,
                               .short_factors = {1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7},
                               .long_factors = {1, 2, 4, 8, 16, 32, 48.5, 64}};
  RopeConfig partial = longrope;
  partial.rotary_dim = 12;
  partial.short_factors = {1, 1.1, 1.2, 1.3, 1.4, 1.5};
  return {{"linear",
           {.kind = RopeKind::kLinear, .factor = 8},
           kPositions,
           {0x1.0p-3f, 0x1.43d136p-5f, 0x1.99999ap-7f, 0x1.030dc6p-8f, 0x1.47ae14p-10f,
            0x1.9e7c7p-12f, 0x1.0624dep-13f, 0x1.4b96cp-15f}},
          {"yarn",
           yarn,
           kPositions,
           {0x1.0p+0f, 0x1.43d136p-2f, 0x1.99999ap-4f, 0x1.030dc6p-5f, 0x1.0a3d7p-7f,
            0x1.030dc6p-9f, 0x1.cac084p-12f, 0x1.4b96cp-14f}},
          {"yarn between whole frequencies",
           yarn_between,
           kPositions,
           {0x1.0p+0f, 0x1.43d136p-2f, 0x1.99999ap-4f, 0x1.030dc6p-5f, 0x1.0802c6p-7f,
            0x1.cd5dd8p-10f, 0x1.425732p-12f, 0x1.4b96cp-14f}},
          {"yarn without a ramp",
           yarn_step,
           kPositions,
           {0x1.0p+0f, 0x1.43d136p-2f, 0x1.99999ap-4f, 0x1.030dc6p-5f, 0x1.47ae14p-7f,
            0x1.9e7c7p-9f, 0x1.0624dep-12f, 0x1.4b96cp-14f}},
          {"longrope up to the original length",
           longrope,
           4096,
           {0x1.0p+0f, 0x1.266118p-2f, 0x1.555556p-4f, 0x1.8e8b58p-6f, 0x1.d41d42p-8f,
            0x1.1452f6p-9f, 0x1.47ae14p-11f, 0x1.861ac2p-13f}},
          {"longrope beyond it",
           longrope,
           4097,
           {0x1.0p+0f, 0x1.43d136p-3f, 0x1.99999ap-6f, 0x1.030dc6p-8f, 0x1.47ae14p-11f,
            0x1.9e7c7p-14f, 0x1.59ec06p-16f, 0x1.4b96cp-18f}},
          {"longrope of a part of the head",
           partial,
           100,
           {0x1.0p+0f, 0x1.911dd6p-3f, 0x1.3cdda2p-5f, 0x1.f81f82p-8f, 0x1.936898p-10f,
            0x1.44787cp-12f}}};
}

// ROPE_INIT_FUNCTIONS of transformers 5.
TEST(RopeFrequencies, EqualThoseOfTransformersWithEveryOtherScaling) {
  for (const Scaled& scaled : ScaledRopes()) {
    SCOPED_TRACE(scaled.name);
    const std::vector<float> actual = RopeFrequencies(scaled.rope, kHeadDim, scaled.positions);
    ASSERT_EQ(actual.size(), scaled.expected.size());
    for (size_t i = 0; i < actual.size(); ++i) EXPECT_FLOAT_EQ(actual[i], scaled.expected[i]) << i;
  }
}

TEST(RopeTable, MultipliesByTheAttentionFactorAndHasTheWidthOfWhatRotates) {
  RopeConfig rope = kPlain;
  rope.rotary_dim = 12;
  const std::vector<float> plain = RopeTable(rope, kHeadDim, 50);
  rope.attention_factor = 1.5;
  const std::vector<float> scaled = RopeTable(rope, kHeadDim, 50);
  ASSERT_EQ(plain.size(), 50u * 12);
  ASSERT_EQ(scaled.size(), plain.size());
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(scaled[i], plain[i] * 1.5f) << i;
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
