#include "kernels/api/float_convert.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire::kernels {
namespace {

using ::testing::ElementsAre;

TEST(ConvertToFloat, IsExactForEveryHalf) {
  const uint16_t bits[] = {0x0000, 0x8000, 0x3C00, 0xC000, 0x0001, 0x03FF, 0x0400, 0x7BFF, 0x7C00};
  const float expected[] = {0.0f,         -0.0f,      1.0f,     -2.0f,   0x1.0p-24f,
                            0x1.ff8p-15f, 0x1.0p-14f, 65504.0f, INFINITY};
  float values[9];
  ConvertToFloat(bits, DType::kF16, 9, values);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(values[i], expected[i]) << i;
  EXPECT_TRUE(std::signbit(values[1]));
  const uint16_t nan = 0x7E00;
  ConvertToFloat(&nan, DType::kF16, 1, values);
  EXPECT_TRUE(std::isnan(values[0]));
}

TEST(FloatToF16, GivesEveryHalfBack) {
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = F16ToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(value)))) << bits;
    } else {
      EXPECT_EQ(FloatToF16(value), half) << bits;
    }
  }
}

// Between two neighbours, halfway and a little to either side of it; the largest ones become
// infinite from 65520 on.
TEST(FloatToF16, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto below = static_cast<uint16_t>(bits);
    const float low = F16ToFloat(below);
    const float high = bits == 0x7BFF ? 65536.0f : F16ToFloat(static_cast<uint16_t>(bits + 1));
    const float half = low + (high - low) / 2;
    const auto above = static_cast<uint16_t>(bits + 1);
    EXPECT_EQ(FloatToF16(std::nextafter(half, 0.0f)), below) << bits;
    EXPECT_EQ(FloatToF16(half), bits % 2 == 0 ? below : above) << bits;
    EXPECT_EQ(FloatToF16(std::nextafter(half, INFINITY)), above) << bits;
    EXPECT_EQ(FloatToF16(-half), (bits % 2 == 0 ? below : above) | 0x8000) << bits;
  }
}

TEST(ConvertToFloat, ReadsFromAnyAddress) {
  const unsigned char bytes[] = {0xFF, 0x80, 0x3F, 0x00, 0xC0, 0x00, 0x00, 0x80, 0x3F};
  float values[2];
  ConvertToFloat(bytes + 1, DType::kBF16, 2, values);
  EXPECT_THAT(values, ElementsAre(1.0f, -2.0f));
  ConvertToFloat(bytes + 5, DType::kF32, 1, values);
  EXPECT_EQ(values[0], 1.0f);
}

}  // namespace
}  // namespace quire::kernels
