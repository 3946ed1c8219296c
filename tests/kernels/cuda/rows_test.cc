#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cuda/row_kernels.h"
#include "tests/kernels/cuda/test_gpu.h"

namespace quire::kernels::cuda {
namespace {

constexpr int32_t kSpareRows = 2;
constexpr float kEps = 1e-5f;

// How a row kernel is run: its grid, and by how many floats its inputs miss an aligned address.
struct Setting {
  int32_t blocks = 0;  // 0: as the capacity asks for
  int32_t shift = 0;
};

class RowKernelsTest : public testing::Test {
 protected:
  std::mt19937_64 Random(uint64_t seed) {
    RecordProperty("seed", std::to_string(seed));
    seed_ = seed;
    return std::mt19937_64(seed);
  }

  template <typename Args>
  void Run(const KernelEntry& entry, LaunchShape shape, const Args& args, const Setting& setting) {
    if (setting.blocks > 0) shape.grid_x = setting.blocks;
    Launch(entry, shape, args, ++seed_);
  }

  static BatchCapacity Capacity(int64_t tokens, int64_t logit_rows = 0) {
    return {static_cast<int32_t>(tokens) + kSpareRows, 1, 1,
            static_cast<int32_t>(logit_rows) + kSpareRows};
  }

  static std::vector<float> Shifted(const std::vector<float>& values, int32_t shift) {
    std::vector<float> shifted = Poisoned<float>(shift);
    shifted.insert(shifted.end(), values.begin(), values.end());
    return shifted;
  }

  MatrixF RmsNorm(const MatrixF& x, const std::vector<float>& weight, DType act,
                  const std::vector<int32_t>* logit_rows = nullptr, const Setting& setting = {}) {
    const int64_t rows = logit_rows != nullptr ? static_cast<int64_t>(logit_rows->size()) : x.rows;
    const std::vector<BatchCounts> counts = {
        {static_cast<int32_t>(x.rows), 1, static_cast<int32_t>(rows)}};
    const std::vector<float> input = Shifted(x.data, setting.shift);
    std::vector<uint16_t> out = Poisoned<uint16_t>((rows + kSpareRows) * x.cols);
    const RmsNormArgs args = {.counts = counts.data(),
                              .logit_rows = logit_rows != nullptr ? logit_rows->data() : nullptr,
                              .x = input.data() + setting.shift,
                              .weight = weight.data(),
                              .eps = kEps,
                              .width = static_cast<int32_t>(x.cols),
                              .out = out.data()};
    Run(GpuUnderTest().table.rms_norm(act),
        RmsNormShape(Capacity(x.rows, rows), logit_rows != nullptr), args, setting);
    for (size_t i = static_cast<size_t>(rows * x.cols); i < out.size(); ++i) {
      EXPECT_TRUE(IsPoison(out[i])) << "a spare row was written";
    }
    return FromHalves(out, rows, x.cols, act);
  }

  MatrixF AddRmsNorm(const MatrixF& x, const std::vector<float>& weight, MatrixF residual,
                     const Setting& setting = {}) {
    const std::vector<BatchCounts> counts = {{static_cast<int32_t>(x.rows), 1, 0}};
    const std::vector<float> input = Shifted(x.data, setting.shift);
    const AddRmsNormArgs args = {.counts = counts.data(),
                                 .x = input.data() + setting.shift,
                                 .weight = weight.data(),
                                 .eps = kEps,
                                 .width = static_cast<int32_t>(x.cols),
                                 .residual = residual.data.data()};
    Run(GpuUnderTest().table.add_rms_norm(), AddRmsNormShape(Capacity(x.rows)), args, setting);
    return residual;
  }

  MatrixF GateMul(const MatrixF& gate_up, DType act, GateKind kind, const Setting& setting = {}) {
    const std::vector<BatchCounts> counts = {{static_cast<int32_t>(gate_up.rows), 1, 0}};
    const int64_t width = gate_up.cols / 2;
    const std::vector<float> input = Shifted(gate_up.data, setting.shift);
    std::vector<uint16_t> out = Poisoned<uint16_t>((gate_up.rows + kSpareRows) * width);
    const GateMulArgs args = {.counts = counts.data(),
                              .gate_up = input.data() + setting.shift,
                              .width = static_cast<int32_t>(width),
                              .out = out.data()};
    Run(GpuUnderTest().table.gate_mul(act, kind),
        GateMulShape(Capacity(gate_up.rows), static_cast<int32_t>(width)), args, setting);
    for (size_t i = static_cast<size_t>(gate_up.rows * width); i < out.size(); ++i) {
      EXPECT_TRUE(IsPoison(out[i])) << "a spare row was written";
    }
    return FromHalves(out, gate_up.rows, width, act);
  }

  MatrixF SoftCap(const MatrixF& logits, float cap, const Setting& setting = {}) {
    const std::vector<BatchCounts> counts = {{1, 1, static_cast<int32_t>(logits.rows)}};
    MatrixF out = logits;
    out.data = Shifted(out.data, setting.shift);
    const SoftCapArgs args = {.counts = counts.data(),
                              .logits = out.data.data() + setting.shift,
                              .vocab = static_cast<int32_t>(logits.cols),
                              .cap = cap};
    Run(GpuUnderTest().table.soft_cap(), SoftCapShape(Capacity(1, logits.rows), args.vocab), args,
        setting);
    out.data.erase(out.data.begin(), out.data.begin() + setting.shift);
    return out;
  }

  MatrixF Embed(const MatrixF& table, DType dtype, const std::vector<int32_t>& ids,
                const std::vector<SampledToken>& previous = {}, float scale = 1,
                const Setting& setting = {}) {
    const std::vector<BatchCounts> counts = {{static_cast<int32_t>(ids.size()), 1, 0}};
    const std::vector<uint16_t> halves = Halves(table, dtype);
    const auto rows = static_cast<int64_t>(ids.size());
    MatrixF out(rows + kSpareRows, table.cols);
    out.data = Poisoned<float>(out.rows * out.cols);
    const EmbedArgs args = {.counts = counts.data(),
                            .token_ids = ids.data(),
                            .previous = previous.data(),
                            .table = halves.data(),
                            .vocab = static_cast<int32_t>(table.rows),
                            .width = static_cast<int32_t>(table.cols),
                            .scale = scale,
                            .out = out.data.data()};
    Run(GpuUnderTest().table.embed(dtype), EmbedShape(Capacity(rows)), args, setting);
    for (size_t i = static_cast<size_t>(rows * out.cols); i < out.data.size(); ++i) {
      EXPECT_TRUE(IsPoison(out.data[i])) << "a spare row was written";
    }
    return RowsOf(out, 0, rows);
  }

  uint64_t seed_ = 0;
};

std::vector<double> ToDouble(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

TEST_F(RowKernelsTest, RmsNormIsAsCloseToExactAsTheNaiveOneWhateverTheWidth) {
  auto random = Random(1);
  for (DType act : kGpuActTypes) {
    for (int64_t width : {1, 3, 4, 7, 8, 9, 17, 64, 100, 1024, 2052, 3000}) {
      const MatrixF x = RandomMatrix(random, 3, width, 2, DType::kF32);
      const std::vector<float> weight = RandomMatrix(random, 1, width, 1, DType::kF32).data;
      const MatrixD exact =
          reference::RmsNorm<double>(Cast<double>(x), ToDouble(weight), double{kEps});
      const MatrixF naive = RoundedToHalf(reference::RmsNorm<float>(x, weight, kEps), act);
      EXPECT_TRUE(IsClose(RmsNorm(x, weight, act), exact, naive))
          << DTypeName(act) << " width " << width;
    }
  }
}

TEST_F(RowKernelsTest, ARowsBitsDoNotDependOnTheOthersTheGridOrAlignment) {
  auto random = Random(2);
  for (int64_t width : {64, 300, 1025}) {
    const MatrixF x = RandomMatrix(random, 9, width, 1, DType::kF32);
    const std::vector<float> weight = RandomMatrix(random, 1, width, 1, DType::kF32).data;
    const MatrixF residual = RandomMatrix(random, 9, width, 1, DType::kF32);
    const MatrixF normed = RmsNorm(x, weight, DType::kBF16);
    const MatrixF added = AddRmsNorm(x, weight, residual);
    for (const Setting& setting : {Setting{1, 0}, {2, 0}, {0, 1}, {4, 3}}) {
      EXPECT_TRUE(SameBits(RmsNorm(x, weight, DType::kBF16, nullptr, setting), normed));
      EXPECT_TRUE(SameBits(AddRmsNorm(x, weight, residual, setting), added));
    }
    const MatrixF one = RowsOf(x, 5, 6);
    EXPECT_TRUE(SameBits(RmsNorm(one, weight, DType::kBF16), RowsOf(normed, 5, 6)));
    EXPECT_TRUE(SameBits(AddRmsNorm(one, weight, RowsOf(residual, 5, 6)), RowsOf(added, 5, 6)));
    const std::vector<int32_t> rows = {8, 0, 7, 7, 3};
    const MatrixF some = RmsNorm(x, weight, DType::kBF16, &rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      EXPECT_TRUE(SameBits(RowsOf(some, at, at + 1), RowsOf(normed, rows[i], rows[i] + 1)));
    }
  }
}

TEST_F(RowKernelsTest, EpsKeepsRowsOfZerosAndSmallNumbersSmall) {
  MatrixF x(2, 40);
  for (int64_t i = 0; i < 40; ++i) x.at(1, i) = 1e-3f;
  const std::vector<float> weight(40, 1);
  const MatrixF got = RmsNorm(x, weight, DType::kBF16);
  const MatrixF added = AddRmsNorm(x, weight, x);
  const double expected = 1e-3 / std::sqrt(1e-6 + double{kEps});
  for (int64_t i = 0; i < 40; ++i) {
    EXPECT_EQ(got.at(0, i), 0);
    EXPECT_EQ(added.at(0, i), 0);
    EXPECT_NEAR(got.at(1, i), expected, expected / 256);
    EXPECT_NEAR(added.at(1, i), 1e-3 + expected, 1e-6);
  }
}

TEST_F(RowKernelsTest, AddRmsNormIsAsCloseToExactAsTheNaiveOne) {
  auto random = Random(3);
  for (int64_t width : {1, 5, 16, 300, 1500}) {
    const MatrixF x = RandomMatrix(random, 3, width, 3, DType::kF32);
    const MatrixF residual = RandomMatrix(random, 3, width, 1, DType::kF32);
    const std::vector<float> weight = RandomMatrix(random, 1, width, 1, DType::kF32).data;
    MatrixD exact = reference::RmsNorm<double>(Cast<double>(x), ToDouble(weight), double{kEps});
    MatrixF naive = reference::RmsNorm<float>(x, weight, kEps);
    for (size_t i = 0; i < residual.data.size(); ++i) {
      exact.data[i] += residual.data[i];
      naive.data[i] += residual.data[i];
    }
    EXPECT_TRUE(IsClose(AddRmsNorm(x, weight, residual), exact, naive)) << "width " << width;
  }
}

TEST_F(RowKernelsTest, GateMulIsAsCloseToExactAsTheNaiveOneWhateverTheWidth) {
  auto random = Random(4);
  for (GateKind kind : {GateKind::kSilu, GateKind::kGeluTanh}) {
    for (DType act : kGpuActTypes) {
      for (int64_t width : {1, 7, 8, 12, 100, 2047, 2056}) {
        const MatrixF x = RandomMatrix(random, 4, 2 * width, 4, DType::kF32);
        const MatrixF got = GateMul(x, act, kind);
        EXPECT_TRUE(IsClose(got, reference::GateMul<double>(Cast<double>(x), kind),
                            RoundedToHalf(reference::GateMul<float>(x, kind), act)))
            << DTypeName(act) << " width " << width << " kind " << static_cast<int>(kind);
        EXPECT_TRUE(SameBits(GateMul(x, act, kind, {3, 1}), got));
        EXPECT_TRUE(SameBits(GateMul(RowsOf(x, 2, 3), act, kind), RowsOf(got, 2, 3)));
      }
    }
  }
}

TEST_F(RowKernelsTest, FarOutGatesGiveZeroOrTheGate) {
  MatrixF x(1, 12);
  x.data = {-300, -1000, -1e30f, 256, 1024, 0x1p99f, 1, 1, 1, 1, 1, 1};
  for (GateKind kind : {GateKind::kSilu, GateKind::kGeluTanh}) {
    const MatrixF got = GateMul(x, DType::kBF16, kind);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(got.data[i], 0, 1e-7);
    for (size_t i = 3; i < 6; ++i) EXPECT_EQ(got.data[i], x.data[i]);
  }
}

TEST_F(RowKernelsTest, SoftCapIsAsCloseToExactAsTheNaiveOneAndKeepsSignsZerosAndNan) {
  auto random = Random(5);
  for (int64_t vocab : {1, 17, 300, 1024, 2500}) {
    for (float cap : {0.5f, 30.0f}) {
      const MatrixF x = RandomMatrix(random, 3, vocab, 20, DType::kF32);
      const MatrixF got = SoftCap(x, cap);
      EXPECT_TRUE(IsClose(got, reference::SoftCap<double>(Cast<double>(x), cap),
                          reference::SoftCap<float>(x, cap)))
          << "vocab " << vocab << " cap " << cap;
      EXPECT_TRUE(SameBits(SoftCap(x, cap, {2, 1}), got));
      EXPECT_TRUE(SameBits(SoftCap(RowsOf(x, 1, 2), cap), RowsOf(got, 1, 2)));
    }
  }
  MatrixF edges(1, 6);
  edges.data = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, -1e-20f};
  const MatrixF got = SoftCap(edges, 30);
  EXPECT_TRUE(got.data[0] == 0 && !std::signbit(got.data[0]));
  EXPECT_TRUE(got.data[1] == 0 && std::signbit(got.data[1]));
  EXPECT_EQ(got.data[2], 30);
  EXPECT_EQ(got.data[3], -30);
  EXPECT_TRUE(std::isnan(got.data[4]));
  EXPECT_NEAR(got.data[5], -1e-20f, 1e-26f);
}

TEST_F(RowKernelsTest, EmbedReadsRowsOfTheTableAndScalesThem) {
  auto random = Random(6);
  for (DType dtype : kGpuActTypes) {
    for (int64_t width : {1, 7, 8, 64, 301, 2064}) {
      const MatrixF table = RoundedToHalf(RandomMatrix(random, 40, width, 1, DType::kF32), dtype);
      const std::vector<int32_t> ids = {0, 39, 31, 5, 5};
      for (float scale : {1.0f, 9.8125f}) {
        const MatrixF got = Embed(table, dtype, ids, {}, scale);
        MatrixF expected(got.rows, width);
        for (int64_t r = 0; r < got.rows; ++r) {
          for (int64_t i = 0; i < width; ++i) {
            expected.at(r, i) = table.at(ids[static_cast<size_t>(r)], i) * scale;
          }
        }
        EXPECT_TRUE(SameBits(got, expected)) << DTypeName(dtype) << " width " << width;
        EXPECT_TRUE(SameBits(Embed(table, dtype, ids, {}, scale, {2, 0}), expected));
      }
    }
  }
}

TEST_F(RowKernelsTest, EmbedKeepsInfinitiesNanAndSmallNumbers) {
  MatrixF table(1, 6);
  table.data = {INFINITY, -INFINITY, NAN, 0x1p-24f, -0x1.8p-16f, 65504};
  const MatrixF got = Embed(table, DType::kF16, {0});
  for (size_t i : {0, 1, 3, 4, 5}) EXPECT_EQ(got.data[i], table.data[i]);
  EXPECT_TRUE(std::isnan(got.data[2]));
}

TEST_F(RowKernelsTest, EmbedTakesNegativeIdsFromTheStepBeforeAndFailsWithIt) {
  auto random = Random(7);
  const MatrixF table = RoundedToHalf(RandomMatrix(random, 40, 24, 1, DType::kF32), DType::kBF16);
  const MatrixF got = Embed(table, DType::kBF16, {3, -1, -2, -3, 40, -4},
                            {{7, 0}, {kNotFinite, 0}, {39, 0}, {kNothingAllowed, 0}});
  for (const auto& [row, id] : {std::pair{0, 3}, {1, 7}, {3, 39}}) {
    EXPECT_TRUE(SameBits(RowsOf(got, row, row + 1), RowsOf(table, id, id + 1)));
  }
  for (int64_t row : {2, 4, 5}) {
    for (int64_t i = 0; i < 24; ++i) EXPECT_TRUE(std::isnan(got.at(row, i)));
  }
}

TEST_F(RowKernelsTest, AnEmptyBatchWritesNothing) {
  EXPECT_TRUE(RmsNorm(MatrixF(0, 16), std::vector<float>(16), DType::kBF16).data.empty());
  EXPECT_TRUE(GateMul(MatrixF(0, 32), DType::kF16, GateKind::kSilu).data.empty());
  EXPECT_TRUE(SoftCap(MatrixF(0, 32), 1).data.empty());
  EXPECT_TRUE(Embed(MatrixF(1, 8), DType::kBF16, {}).data.empty());
}

TEST(RowShapesTest, GridsFollowTheCapacityUpToALimit) {
  EXPECT_EQ(RmsNormShape({0, 1, 1, 0}, false).grid_x, 1);
  EXPECT_EQ(RmsNormShape({100, 1, 1, 7}, false).grid_x, 100);
  EXPECT_EQ(RmsNormShape({100, 1, 1, 7}, true).grid_x, 7);
  EXPECT_EQ(EmbedShape({1 << 20, 1, 1, 7}).grid_x, kMaxRowBlocks);
  EXPECT_EQ(GateMulShape({100, 1, 1, 7}, 2049).grid_y, 2);
  EXPECT_EQ(RopeWriteKvShape({100, 1, 1, 7}, 32, 8).grid_y, 3);
  EXPECT_EQ(RopeWriteKvShape({100, 1, 1, 7}, 1, 8).grid_y, 2);
}

}  // namespace
}  // namespace quire::kernels::cuda
