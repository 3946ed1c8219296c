#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/batch_fixture.h"

namespace quire::kernels {
namespace {

class RowsTest : public BatchFixture {
 protected:
  MatrixF RunRmsNorm(const MatrixF& x, const std::vector<float>& weight, DType act,
                     const std::vector<int32_t>* logit_rows = nullptr) {
    const DeviceBatch batch = MakePlainBatch(
        static_cast<int32_t>(x.rows), logit_rows != nullptr ? *logit_rows : std::vector<int32_t>());
    const DeviceBuffer x_buffer = UploadAs(x, DType::kF32);
    const DeviceBuffer weight_buffer = Upload(weight);
    const int64_t rows = logit_rows != nullptr ? static_cast<int64_t>(logit_rows->size()) : x.rows;
    const DeviceBuffer out = NewBuffer(static_cast<size_t>(rows * x.cols) * 4);
    RmsNormParams params;
    params.batch = &batch.view;
    params.x = x_buffer.as<float>();
    params.weight = weight_buffer.as<float>();
    params.eps = 1e-5f;
    params.width = static_cast<int32_t>(x.cols);
    params.act = act;
    params.logit_rows_only = logit_rows != nullptr;
    params.out = out.data();
    ops().RmsNorm(params);
    return DownloadAs(out, rows, x.cols, act);
  }

  MatrixF RunAddRmsNorm(const MatrixF& x, const std::vector<float>& weight,
                        const MatrixF& residual) {
    const DeviceBatch batch = MakePlainBatch(static_cast<int32_t>(x.rows));
    const DeviceBuffer x_buffer = UploadAs(x, DType::kF32);
    const DeviceBuffer weight_buffer = Upload(weight);
    const DeviceBuffer out = UploadAs(residual, DType::kF32);
    AddRmsNormParams params;
    params.batch = &batch.view;
    params.x = x_buffer.as<float>();
    params.weight = weight_buffer.as<float>();
    params.eps = 1e-5f;
    params.width = static_cast<int32_t>(x.cols);
    params.residual = out.as<float>();
    ops().AddRmsNorm(params);
    return DownloadAs(out, x.rows, x.cols, DType::kF32);
  }

  MatrixF RunSoftCap(const MatrixF& logits, float cap) {
    std::vector<int32_t> rows(static_cast<size_t>(logits.rows));
    const DeviceBatch batch = MakePlainBatch(static_cast<int32_t>(logits.rows), rows);
    const DeviceBuffer buffer = UploadAs(logits, DType::kF32);
    SoftCapParams params;
    params.batch = &batch.view;
    params.logits = buffer.as<float>();
    params.vocab = static_cast<int32_t>(logits.cols);
    params.cap = cap;
    ops().SoftCap(params);
    return DownloadAs(buffer, logits.rows, logits.cols, DType::kF32);
  }

  MatrixF RunGateMul(const MatrixF& gate_up, DType act, GateKind kind = GateKind::kSilu) {
    const DeviceBatch batch = MakePlainBatch(static_cast<int32_t>(gate_up.rows));
    const DeviceBuffer in = UploadAs(gate_up, DType::kF32);
    const DeviceBuffer out = NewBuffer(gate_up.data.size() * 4);
    GateMulParams params;
    params.kind = kind;
    params.batch = &batch.view;
    params.gate_up = in.as<float>();
    params.width = static_cast<int32_t>(gate_up.cols / 2);
    params.act = act;
    params.out = out.data();
    ops().GateMul(params);
    return DownloadAs(out, gate_up.rows, gate_up.cols / 2, act);
  }

  MatrixF RunEmbed(const PackedWeights& table, const std::vector<int32_t>& ids,
                   const std::vector<SampledToken>& previous = {}, float scale = 1) {
    const auto tokens = static_cast<int32_t>(ids.size());
    const DeviceBatch batch = MakeBatch({{tokens, tokens, {}}}, ids);
    const DeviceBuffer previous_buffer = Upload(previous);
    const DeviceBuffer out =
        NewBuffer(ids.size() * static_cast<size_t>(table.cols()) * sizeof(float));
    EmbedParams params;
    params.batch = &batch.view;
    params.table = &table;
    params.previous = previous_buffer.as<SampledToken>();
    params.scale = scale;
    params.out = out.as<float>();
    ops().Embed(params);
    return DownloadAs(out, tokens, table.cols(), DType::kF32);
  }
};

TEST_P(RowsTest, RmsNormIsAsCloseToExactAsTheNaiveOne) {
  auto random = Random(1);
  for (DType act : kActTypes) {
    for (int64_t width : {1, 3, 4, 15, 16, 17, 63, 64, 65, 100, 2048}) {
      const MatrixF x = RandomMatrix(random, 5, width, 2, DType::kF32);
      const std::vector<float> weight = RandomMatrix(random, 1, width, 1, DType::kF32).data;
      const MatrixD exact = reference::RmsNorm<double>(
          Cast<double>(x), std::vector<double>(weight.begin(), weight.end()), 1e-5f);
      const MatrixF naive = Rounded(reference::RmsNorm<float>(x, weight, 1e-5f), act);
      EXPECT_TRUE(IsClose(RunRmsNorm(x, weight, act), exact, naive))
          << DTypeName(act) << " width " << width;
    }
  }
}

TEST_P(RowsTest, RmsNormOfLogitRowsGathersThemWithTheBitsTheyHaveInTheWhole) {
  auto random = Random(2);
  for (DType act : kActTypes) {
    const MatrixF x = RandomMatrix(random, 60, 300, 1, DType::kF32);
    const std::vector<float> weight = RandomMatrix(random, 1, 300, 1, DType::kF32).data;
    const MatrixF all = RunRmsNorm(x, weight, act);
    const std::vector<int32_t> rows = {59, 0, 7, 7, 31};
    const MatrixF some = RunRmsNorm(x, weight, act, &rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      EXPECT_TRUE(SameBits(RowsOf(some, at, at + 1), RowsOf(all, rows[i], rows[i] + 1)));
      EXPECT_TRUE(SameBits(RunRmsNorm(RowsOf(x, rows[i], rows[i] + 1), weight, act),
                           RowsOf(all, rows[i], rows[i] + 1)));
    }
  }
}

TEST_P(RowsTest, AddRmsNormIsAsCloseToExactAsTheNaiveOneAndARowDoesNotDependOnOthers) {
  auto random = Random(6);
  for (int64_t width : {1, 3, 15, 16, 17, 100, 2048}) {
    const MatrixF x = RandomMatrix(random, 5, width, 2, DType::kF32);
    const MatrixF residual = RandomMatrix(random, 5, width, 3, DType::kF32);
    const std::vector<float> weight = RandomMatrix(random, 1, width, 1, DType::kF32).data;
    MatrixD exact = reference::RmsNorm<double>(
        Cast<double>(x), std::vector<double>(weight.begin(), weight.end()), 1e-5f);
    MatrixF naive = reference::RmsNorm<float>(x, weight, 1e-5f);
    for (size_t i = 0; i < residual.data.size(); ++i) {
      exact.data[i] += residual.data[i];
      naive.data[i] += residual.data[i];
    }
    const MatrixF got = RunAddRmsNorm(x, weight, residual);
    EXPECT_TRUE(IsClose(got, exact, naive)) << "width " << width;
    EXPECT_TRUE(SameBits(RunAddRmsNorm(RowsOf(x, 3, 4), weight, RowsOf(residual, 3, 4)),
                         RowsOf(got, 3, 4)));
  }
}

TEST_P(RowsTest, GateMulIsAsCloseToExactAsTheNaiveOneAndARowDoesNotDependOnOthers) {
  auto random = Random(3);
  for (GateKind kind : {GateKind::kSilu, GateKind::kGeluTanh}) {
    for (DType act : kActTypes) {
      for (int64_t width : {1, 15, 16, 17, 100, 1000}) {
        const MatrixF x = RandomMatrix(random, 20, 2 * width, 4, DType::kF32);
        const MatrixF got = RunGateMul(x, act, kind);
        EXPECT_TRUE(IsClose(got, reference::GateMul<double>(Cast<double>(x), kind),
                            Rounded(reference::GateMul<float>(x, kind), act)))
            << DTypeName(act) << " width " << width << " kind " << static_cast<int>(kind);
        EXPECT_TRUE(SameBits(RunGateMul(RowsOf(x, 11, 12), act, kind), RowsOf(got, 11, 12)));
      }
    }
  }
}

TEST_P(RowsTest, FarOutGatesGiveZeroOrTheGate) {
  MatrixF x(1, 12);
  x.data = {-300, -1000, -1e30f, 300, 1000, 1e30f, 1, 1, 1, 1, 1, 1};
  for (GateKind kind : {GateKind::kSilu, GateKind::kGeluTanh}) {
    const MatrixF got = RunGateMul(x, DType::kF32, kind);
    EXPECT_NEAR(got.data[0], 0, 1e-30);
    EXPECT_NEAR(got.data[1], 0, 1e-30);
    EXPECT_NEAR(got.data[2], 0, 1e-7);
    EXPECT_EQ(got.data[3], 300);
    EXPECT_EQ(got.data[4], 1000);
    EXPECT_EQ(got.data[5], 1e30f);
  }
}

TEST_P(RowsTest, SoftCapIsAsCloseToExactAsTheNaiveOneAndKeepsSignsZerosAndNan) {
  auto random = Random(7);
  for (int64_t vocab : {1, 17, 300, 20000}) {
    for (float cap : {0.5f, 30.0f}) {
      const MatrixF x = RandomMatrix(random, 3, vocab, 20, DType::kF32);
      const MatrixF got = RunSoftCap(x, cap);
      EXPECT_TRUE(IsClose(got, reference::SoftCap<double>(Cast<double>(x), cap),
                          reference::SoftCap<float>(x, cap)))
          << "vocab " << vocab << " cap " << cap;
      EXPECT_TRUE(SameBits(RunSoftCap(RowsOf(x, 1, 2), cap), RowsOf(got, 1, 2)));
    }
  }
  MatrixF edges(1, 6);
  edges.data = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, -1e-20f};
  const MatrixF got = RunSoftCap(edges, 30);
  EXPECT_TRUE(got.data[0] == 0 && !std::signbit(got.data[0]));
  EXPECT_TRUE(got.data[1] == 0 && std::signbit(got.data[1]));
  EXPECT_EQ(got.data[2], 30);
  EXPECT_EQ(got.data[3], -30);
  EXPECT_TRUE(std::isnan(got.data[4]));
  EXPECT_NEAR(got.data[5], -1e-20f, 1e-26f);
}

TEST_P(RowsTest, EmbedReadsRowsOfThePackedTable) {
  auto random = Random(4);
  for (DType dtype : kActTypes) {
    for (int64_t width : {1, 7, 64, 301}) {
      const MatrixF table = RandomMatrix(random, 75, width, 1, dtype);
      const std::vector<int32_t> ids = {0, 74, 31, 32, 33, 5, 5};
      const MatrixF got = RunEmbed(*Pack(table, dtype, dtype), ids);
      for (size_t i = 0; i < ids.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        EXPECT_TRUE(SameBits(RowsOf(got, at, at + 1), RowsOf(table, ids[i], ids[i] + 1)));
      }
      MatrixF scaled = got;
      for (float& x : scaled.data) x *= 9.8125f;
      EXPECT_TRUE(SameBits(RunEmbed(*Pack(table, dtype, dtype), ids, {}, 9.8125f), scaled));
    }
  }
}

TEST_P(RowsTest, EmbedTakesNegativeIdsFromTheStepBefore) {
  auto random = Random(5);
  const MatrixF table = RandomMatrix(random, 40, 16, 1, DType::kBF16);
  const MatrixF got = RunEmbed(*Pack(table, DType::kBF16, DType::kBF16), {3, -1, -2, -3},
                               {{7, 0.0f}, {-1, 0.0f}, {39, 0.0f}});
  EXPECT_TRUE(SameBits(RowsOf(got, 0, 1), RowsOf(table, 3, 4)));
  EXPECT_TRUE(SameBits(RowsOf(got, 1, 2), RowsOf(table, 7, 8)));
  for (int64_t i = 0; i < 16; ++i) EXPECT_TRUE(std::isnan(got.at(2, i)));
  EXPECT_TRUE(SameBits(RowsOf(got, 3, 4), RowsOf(table, 39, 40)));
}

TEST_P(RowsTest, PackingRoundsTiesToEvenAndKeepsNanAndInfinity) {
  const float infinity = std::numeric_limits<float>::infinity();
  MatrixF table(1, 8);
  table.data = {1.00390625f, 1.01171875f, infinity,
                -infinity,   3.4e38f,     std::numeric_limits<float>::quiet_NaN(),
                -0.0f,       1.0f};
  uint32_t signalling_bits = 0x7f800001u;  // rounding its bits would make it an infinity
  std::memcpy(&table.data[7], &signalling_bits, sizeof(float));
  const MatrixF got = RunEmbed(*Pack(table, DType::kF32, DType::kBF16), {0});
  EXPECT_EQ(got.data[0], 1.0f);       // 1 + 2^-8: half way, down to even
  EXPECT_EQ(got.data[1], 1.015625f);  // 1 + 3 * 2^-8: half way, up to even
  EXPECT_EQ(got.data[2], infinity);
  EXPECT_EQ(got.data[3], -infinity);
  EXPECT_EQ(got.data[4], infinity);
  EXPECT_TRUE(std::isnan(got.data[5]));
  EXPECT_TRUE(std::signbit(got.data[6]));
  EXPECT_TRUE(std::isnan(got.data[7]));
}

TEST_P(RowsTest, AnEmptyBatchIsFine) {
  EXPECT_TRUE(RunRmsNorm(MatrixF(0, 16), std::vector<float>(16), DType::kBF16).data.empty());
  EXPECT_TRUE(RunGateMul(MatrixF(0, 32), DType::kF32).data.empty());
  EXPECT_TRUE(RunSoftCap(MatrixF(0, 32), 1).data.empty());
}

INSTANTIATE_TEST_SUITE_P(Cpu, RowsTest, testing::ValuesIn(AllDevices()), DeviceParamName);

}  // namespace
}  // namespace quire::kernels
