#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/kernel_fixture.h"

namespace quire::kernels {
namespace {

struct Shape {
  int32_t m;
  int64_t n;
  int64_t k;
};

class LinearTest : public KernelTest {};

TEST_P(LinearTest, IsAsCloseToExactAsTheNaiveProductAtEveryTileAndPaddingEdge) {
  auto random = Random(1);
  for (DType act : kActTypes) {
    for (const Shape& shape : {Shape{1, 1, 1},
                               {1, 33, 3},
                               {1, 161, 64},
                               {2, 32, 31},
                               {3, 129, 257},
                               {4, 96, 48},
                               {5, 65, 17},
                               {6, 64, 64},
                               {7, 31, 130},
                               {12, 63, 40},
                               {13, 40, 33},
                               {25, 97, 96},
                               {40, 16, 700}}) {
      const MatrixF weights = RandomMatrix(random, shape.n, shape.k, 0.5f, act);
      const MatrixF in = RandomMatrix(random, shape.m, shape.k, 1, act);
      const MatrixF got = RunLinear(in, *Pack(weights, act, act), act, nullptr, nullptr);
      const MatrixD exact =
          reference::Linear<double>(Cast<double>(in), Cast<double>(weights), nullptr, nullptr);
      const MatrixF naive = reference::Linear<float>(in, weights, nullptr, nullptr);
      EXPECT_TRUE(IsClose(got, exact, naive))
          << DTypeName(act) << " " << shape.m << " x " << shape.n << " x " << shape.k;
    }
  }
}

TEST_P(LinearTest, AddsBiasAndWhatOutHeldBefore) {
  auto random = Random(2);
  for (DType act : kActTypes) {
    const MatrixF weights = RandomMatrix(random, 75, 50, 0.5f, act);
    const MatrixF in = RandomMatrix(random, 9, 50, 1, act);
    const MatrixF add = RandomMatrix(random, 9, 75, 3, DType::kF32);
    const std::vector<float> bias = RandomMatrix(random, 1, 75, 3, DType::kF32).data;
    const std::vector<double> bias_d(bias.begin(), bias.end());
    const MatrixF got = RunLinear(in, *Pack(weights, act, act), act, &bias, &add);
    const MatrixD add_d = Cast<double>(add);
    const MatrixD exact =
        reference::Linear<double>(Cast<double>(in), Cast<double>(weights), &bias_d, &add_d);
    EXPECT_TRUE(IsClose(got, exact, reference::Linear<float>(in, weights, &bias, &add)))
        << DTypeName(act);
  }
}

// 530 rows cross the block of rows that is packed at once, and 331 elements the slice of K that
// many rows pass over at once.
TEST_P(LinearTest, ARowHasTheSameBitsInEveryBatch) {
  auto random = Random(3);
  for (DType act : kActTypes) {
    const MatrixF weights = RandomMatrix(random, 150, 331, 0.5f, act);
    const auto packed = Pack(weights, act, act);
    const MatrixF in = RandomMatrix(random, 530, 331, 1, act);
    const MatrixF add = RandomMatrix(random, 530, 150, 1, DType::kF32);
    const std::vector<float> bias = RandomMatrix(random, 1, 150, 1, DType::kF32).data;
    const MatrixF all = RunLinear(in, *packed, act, &bias, &add);
    for (int64_t size : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 24, 25, 64, 513}) {
      for (int64_t begin : {int64_t{0}, int64_t{7}, 530 - size}) {
        const MatrixF part_add = RowsOf(add, begin, begin + size);
        const MatrixF part =
            RunLinear(RowsOf(in, begin, begin + size), *packed, act, &bias, &part_add);
        ASSERT_TRUE(SameBits(part, RowsOf(all, begin, begin + size)))
            << DTypeName(act) << " rows " << begin << " to " << begin + size;
      }
    }
  }
}

TEST_P(LinearTest, StacksPartsOfAnyTypeAndRoundsThemToTheComputeType) {
  auto random = Random(4);
  for (DType compute : kActTypes) {
    const MatrixF parts[] = {RandomMatrix(random, 20, 35, 0.5f, DType::kF32),
                             RandomMatrix(random, 13, 35, 0.5f, DType::kF16),
                             RandomMatrix(random, 40, 35, 0.5f, DType::kBF16)};
    const std::vector<uint8_t> bytes[] = {Encode(parts[0], DType::kF32),
                                          Encode(parts[1], DType::kF16),
                                          Encode(parts[2], DType::kBF16)};
    const HostMatrix host[] = {{bytes[0].data(), DType::kF32, 20, 35},
                               {bytes[1].data(), DType::kF16, 13, 35},
                               {bytes[2].data(), DType::kBF16, 40, 35}};
    std::unique_ptr<PackedWeights> packed;
    ASSERT_TRUE(device_->PackLinear(host, 3, compute, WeightFormat::kDense, &packed).ok());
    ASSERT_EQ(packed->rows(), 73);
    MatrixF stacked(73, 35);
    auto end = stacked.data.begin();
    for (const MatrixF& part : parts) end = std::copy(part.data.begin(), part.data.end(), end);
    stacked = Rounded(stacked, compute);
    const MatrixF in = RandomMatrix(random, 4, 35, 1, compute);
    EXPECT_TRUE(
        SameBits(RunLinear(in, *packed, compute, nullptr, nullptr),
                 RunLinear(in, *Pack(stacked, DType::kF32, compute), compute, nullptr, nullptr)));
  }
}

TEST_P(LinearTest, NoRowsWriteNothing) {
  auto random = Random(5);
  const auto packed =
      Pack(RandomMatrix(random, 40, 16, 1, DType::kBF16), DType::kBF16, DType::kBF16);
  const MatrixF out = RunLinear(MatrixF(0, 16), *packed, DType::kBF16, nullptr, nullptr);
  EXPECT_TRUE(out.data.empty());
}

// The padding of odd shapes must not turn a NaN or an infinity into others' results.
TEST_P(LinearTest, ANanStaysInItsRow) {
  auto random = Random(6);
  for (DType act : kActTypes) {
    const auto packed = Pack(RandomMatrix(random, 33, 17, 1, act), act, act);
    MatrixF in = RandomMatrix(random, 14, 17, 1, act);
    const MatrixF clean = RunLinear(in, *packed, act, nullptr, nullptr);
    in.at(6, 16) = std::numeric_limits<float>::quiet_NaN();
    const MatrixF got = RunLinear(in, *packed, act, nullptr, nullptr);
    EXPECT_TRUE(SameBits(RowsOf(got, 0, 6), RowsOf(clean, 0, 6)));
    EXPECT_TRUE(SameBits(RowsOf(got, 7, 14), RowsOf(clean, 7, 14)));
    for (int64_t n = 0; n < 33; ++n) EXPECT_TRUE(std::isnan(got.at(6, n)));
  }
}

TEST_P(LinearTest, AnInfiniteWeightStaysInItsColumn) {
  auto random = Random(7);
  for (DType act : kActTypes) {
    MatrixF weights = RandomMatrix(random, 33, 17, 1, act);
    const MatrixF in = RandomMatrix(random, 3, 17, 1, act);
    const MatrixF clean = RunLinear(in, *Pack(weights, act, act), act, nullptr, nullptr);
    weights.at(6, 0) = std::numeric_limits<float>::infinity();  // right behind row 5's odd end
    const MatrixF got = RunLinear(in, *Pack(weights, act, act), act, nullptr, nullptr);
    for (int64_t m = 0; m < 3; ++m) {
      for (int64_t n = 0; n < 33; ++n) {
        if (n == 6) {
          EXPECT_FALSE(std::isfinite(got.at(m, n)));
        } else {
          EXPECT_EQ(got.at(m, n), clean.at(m, n)) << n;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, LinearTest, testing::ValuesIn(AllDevices()), DeviceParamName);

}  // namespace
}  // namespace quire::kernels
