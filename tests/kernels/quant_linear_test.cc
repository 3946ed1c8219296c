#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/packed_weights.h"
#include "tests/kernels/batch_fixture.h"

// Products with integer weights. What a matrix has become is read back from its packed form; what
// activations become is done again here, one element at a time.

namespace quire::kernels {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kInt8, WeightFormat::kInt4};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

MatrixF ReadBack(const PackedWeights& weights) {
  const auto& packed = static_cast<const CpuPackedWeights&>(weights);
  MatrixF matrix(packed.rows(), packed.cols());
  for (int64_t row = 0; row < matrix.rows; ++row) packed.ReadRow(row, &matrix.at(row, 0));
  return matrix;
}

// Each element to the nearest of 127 steps from 0 to the largest of its segment of 256.
MatrixD QuantizedActivations(const MatrixF& in) {
  MatrixD result(in.rows, in.cols);
  for (int64_t row = 0; row < in.rows; ++row) {
    for (int64_t begin = 0; begin < in.cols; begin += 256) {
      const int64_t end = std::min<int64_t>(begin + 256, in.cols);
      float largest = 0;
      for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(in.at(row, i)));
      for (int64_t i = begin; i < end; ++i) {
        const float steps = largest > 0 ? std::nearbyint(in.at(row, i) * (127.0f / largest)) : 0;
        result.at(row, i) = static_cast<double>(steps) * (static_cast<double>(largest) / 127);
      }
    }
  }
  return result;
}

double RelativeError(const MatrixF& got, const MatrixF& wanted) {
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < got.data.size(); ++i) {
    const double difference = static_cast<double>(got.data[i]) - wanted.data[i];
    error += difference * difference;
    norm += static_cast<double>(wanted.data[i]) * wanted.data[i];
  }
  return std::sqrt(error / norm);
}

class QuantLinearTest : public BatchFixture {};

TEST_P(QuantLinearTest, IsTheProductOfTheIntegersAtEveryTileAndPaddingEdge) {
  struct Shape {
    int64_t m, n, k;
  };
  auto random = Random(1);
  for (DType act : kActTypes) {
    for (WeightFormat format : kFormats) {
      for (const Shape& shape : {Shape{1, 1, 1},
                                 {1, 33, 3},
                                 {1, 161, 64},
                                 {2, 32, 31},
                                 {3, 129, 257},
                                 {4, 96, 48},
                                 {5, 65, 255},
                                 {6, 64, 256},
                                 {7, 31, 288},
                                 {12, 63, 40},
                                 {13, 40, 33},
                                 {25, 97, 512},
                                 {200, 16, 700}}) {
        const auto packed =
            Pack(RandomMatrix(random, shape.n, shape.k, 0.5f, act), act, act, format);
        const MatrixF in = RandomMatrix(random, shape.m, shape.k, 1, act);
        const MatrixD exact = reference::Linear<double>(
            QuantizedActivations(in), Cast<double>(ReadBack(*packed)), nullptr, nullptr);
        const MatrixF got = RunLinear(in, *packed, act);
        double largest = 0;
        for (const double x : exact.data) largest = std::max(largest, std::abs(x));
        for (size_t i = 0; i < got.data.size(); ++i) {
          ASSERT_NEAR(got.data[i], exact.data[i], 2e-6 * largest)
              << WeightFormatName(format) << " " << DTypeName(act) << " " << shape.m << " x "
              << shape.n << " x " << shape.k << " at " << i;
        }
      }
    }
  }
}

TEST_P(QuantLinearTest, AddsBiasAndWhatOutHeldBefore) {
  auto random = Random(2);
  for (WeightFormat format : kFormats) {
    const auto packed =
        Pack(RandomMatrix(random, 75, 50, 0.5f, DType::kBF16), DType::kBF16, DType::kBF16, format);
    const MatrixF in = RandomMatrix(random, 9, 50, 1, DType::kBF16);
    const MatrixF add = RandomMatrix(random, 9, 75, 3, DType::kF32);
    const std::vector<float> bias = RandomMatrix(random, 1, 75, 3, DType::kF32).data;
    const MatrixF plain = RunLinear(in, *packed, DType::kBF16);
    const MatrixF got = RunLinear(in, *packed, DType::kBF16, &bias, &add);
    for (int64_t m = 0; m < 9; ++m) {
      for (int64_t n = 0; n < 75; ++n) {
        EXPECT_EQ(got.at(m, n), (plain.at(m, n) + bias[static_cast<size_t>(n)]) + add.at(m, n));
      }
    }
  }
}

// 530 rows cross the block of rows that is packed at once.
TEST_P(QuantLinearTest, ARowHasTheSameBitsInEveryBatch) {
  auto random = Random(3);
  for (WeightFormat format : kFormats) {
    const auto packed = Pack(RandomMatrix(random, 150, 300, 0.5f, DType::kBF16), DType::kBF16,
                             DType::kBF16, format);
    const MatrixF in = RandomMatrix(random, 530, 300, 1, DType::kBF16);
    const MatrixF all = RunLinear(in, *packed, DType::kBF16);
    for (int64_t size : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 24, 25, 64, 513}) {
      for (int64_t begin : {int64_t{0}, int64_t{7}, 530 - size}) {
        const MatrixF part = RunLinear(RowsOf(in, begin, begin + size), *packed, DType::kBF16);
        ASSERT_TRUE(SameBits(part, RowsOf(all, begin, begin + size)))
            << WeightFormatName(format) << " rows " << begin << " to " << begin + size;
      }
    }
  }
}

// Means over normally distributed weights: with 4 bits what a scale of its own for every 32 of them
// would give (0.086), with 8 a scale for each of 2,048.
TEST_P(QuantLinearTest, WeightsAreAsExactAsTheirBitsAllow) {
  auto random = Random(4);
  const MatrixF weights = RandomMatrix(random, 64, 2048, 0.02f, DType::kF32);
  const auto error = [&](WeightFormat format) {
    return RelativeError(ReadBack(*Pack(weights, DType::kF32, DType::kBF16, format)), weights);
  };
  EXPECT_LT(error(WeightFormat::kInt8), 0.0085);
  EXPECT_LT(error(WeightFormat::kInt4), 0.085);
}

TEST_P(QuantLinearTest, EveryIntegerCanBeStored) {
  // A group of its own for each factor: its largest element is what the factor just reaches.
  MatrixF weights(2, 15 * 32);
  for (int64_t m = 1; m <= 15; ++m) {
    for (int64_t i = 0; i < 32; ++i) {
      const auto value = static_cast<float>(m * (i % 16 - 8));
      weights.at(0, (m - 1) * 32 + i) = value;
      weights.at(1, (m - 1) * 32 + i) = 0.0f - value;
    }
  }
  const auto packed = Pack(weights, DType::kF32, DType::kBF16, WeightFormat::kInt4);
  EXPECT_TRUE(SameBits(ReadBack(*packed), weights));
  MatrixF bytes(1, 255);
  for (int64_t i = 0; i < 255; ++i) bytes.at(0, i) = static_cast<float>(i - 127);
  EXPECT_TRUE(
      SameBits(ReadBack(*Pack(bytes, DType::kF32, DType::kBF16, WeightFormat::kInt8)), bytes));
}

TEST_P(QuantLinearTest, ALargeActivationBlursOnlyItsSegment) {
  auto random = Random(5);
  const MatrixF weights = RandomMatrix(random, 40, 1024, 0.5f, DType::kBF16);
  const auto packed = Pack(weights, DType::kBF16, DType::kBF16, WeightFormat::kInt8);
  MatrixF in = RandomMatrix(random, 1, 1024, 1, DType::kBF16);
  in.at(0, 700) = 3000;
  MatrixF others = in;
  for (int64_t i = 512; i < 768; ++i) others.at(0, i) = 0;
  MatrixF segment = in;
  for (int64_t i = 0; i < 1024; ++i) segment.at(0, i) = i / 256 == 2 ? in.at(0, i) : 0;
  const MatrixF whole = RunLinear(in, *packed, DType::kBF16);
  const MatrixF of_segment = RunLinear(segment, *packed, DType::kBF16);
  MatrixF rest(1, 40);
  for (int64_t n = 0; n < 40; ++n) rest.at(0, n) = whole.at(0, n) - of_segment.at(0, n);
  const MatrixF wanted = reference::Linear<float>(others, weights, nullptr, nullptr);
  EXPECT_LT(RelativeError(rest, wanted), 0.02);
}

TEST_P(QuantLinearTest, WhatIsNotFiniteStaysInItsRowAndColumn) {
  auto random = Random(6);
  for (WeightFormat format : kFormats) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      MatrixF weights = RandomMatrix(random, 33, 70, 1, DType::kF32);
      MatrixF in = RandomMatrix(random, 14, 70, 1, DType::kF32);
      const MatrixF clean =
          RunLinear(in, *Pack(weights, DType::kF32, DType::kF32, format), DType::kF32);
      weights.at(5, 69) = bad;
      in.at(6, 3) = bad;
      const MatrixF got =
          RunLinear(in, *Pack(weights, DType::kF32, DType::kF32, format), DType::kF32);
      for (int64_t m = 0; m < 14; ++m) {
        for (int64_t n = 0; n < 33; ++n) {
          if (m == 6 || n == 5) {
            EXPECT_TRUE(std::isnan(got.at(m, n))) << m << " " << n;
          } else {
            EXPECT_EQ(got.at(m, n), clean.at(m, n)) << m << " " << n;
          }
        }
      }
    }
  }
}

TEST_P(QuantLinearTest, NothingAndNextToNothingAreZero) {
  for (WeightFormat format : kFormats) {
    for (const float small : {0.0f, std::numeric_limits<float>::denorm_min()}) {
      MatrixF weights(3, 40);
      MatrixF in(2, 40);
      std::fill(weights.data.begin(), weights.data.end(), small);
      std::fill(in.data.begin(), in.data.end(), small);
      for (const float x :
           RunLinear(in, *Pack(weights, DType::kF32, DType::kF32, format), DType::kF32).data) {
        EXPECT_EQ(x, 0);
      }
    }
  }
}

TEST_P(QuantLinearTest, ATableIsReadAsItIsMultiplied) {
  auto random = Random(7);
  for (WeightFormat format : kFormats) {
    const auto table =
        Pack(RandomMatrix(random, 50, 72, 1, DType::kBF16), DType::kBF16, DType::kBF16, format);
    const std::vector<int32_t> ids = {49, 0, 31, 32};
    const DeviceBatch batch = MakeBatch({{4, 4, {}}}, ids);
    const DeviceBuffer out = NewBuffer(4 * 72 * sizeof(float));
    EmbedParams params;
    params.batch = &batch.view;
    params.table = table.get();
    params.out = out.as<float>();
    ops().Embed(params);
    const MatrixF got = DownloadAs(out, 4, 72, DType::kF32);
    const MatrixF rows = ReadBack(*table);
    for (int64_t t = 0; t < 4; ++t) {
      const int64_t id = ids[static_cast<size_t>(t)];
      EXPECT_TRUE(SameBits(RowsOf(got, t, t + 1), RowsOf(rows, id, id + 1)));
    }
  }
}

TEST_P(QuantLinearTest, TakesTheMemoryItShould) {
  auto random = Random(8);
  const MatrixF weights = RandomMatrix(random, 256, 1024, 1, DType::kBF16);
  const auto bytes = [&](WeightFormat format) {
    return static_cast<double>(Pack(weights, DType::kBF16, DType::kBF16, format)->bytes()) /
           static_cast<double>(weights.data.size());
  };
  EXPECT_NEAR(bytes(WeightFormat::kInt8), 1 + 4.0 / 256, 0.01);
  EXPECT_NEAR(bytes(WeightFormat::kInt4), 0.5 + 1.0 / 32 + 4.0 / 256, 0.01);
}

INSTANTIATE_TEST_SUITE_P(Cpu, QuantLinearTest, testing::ValuesIn(AllDevices()), DeviceParamName);

}  // namespace
}  // namespace quire::kernels
