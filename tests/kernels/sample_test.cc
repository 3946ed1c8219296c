#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cpu/philox.h"
#include "tests/kernels/batch_fixture.h"

namespace quire::kernels {
namespace {

class SampleTest : public BatchFixture {
 protected:
  std::vector<SampledToken> Run(const MatrixF& logits, const std::vector<SamplingRow>& rows,
                                const std::vector<int32_t>& history = {}) {
    const auto count = static_cast<int32_t>(logits.rows);
    const DeviceBatch batch =
        MakePlainBatch(count, std::vector<int32_t>(static_cast<size_t>(count)));
    const DeviceBuffer logits_buffer = UploadAs(logits, DType::kF32);
    const DeviceBuffer rows_buffer = Upload(rows);
    const DeviceBuffer history_buffer = Upload(history);
    const DeviceBuffer out = NewBuffer(rows.size() * sizeof(SampledToken));
    SampleParams params;
    params.batch = &batch.view;
    params.logits = logits_buffer.as<float>();
    params.vocab = static_cast<int32_t>(logits.cols);
    params.rows = rows_buffer.as<SamplingRow>();
    params.history = history_buffer.as<int32_t>();
    params.out = out.as<SampledToken>();
    ops().Sample(params);
    return Download<SampledToken>(out, rows.size());
  }

  SampledToken RunOne(const std::vector<float>& logits, const SamplingRow& row,
                      const std::vector<int32_t>& history = {}) {
    MatrixF matrix(1, static_cast<int64_t>(logits.size()));
    matrix.data = logits;
    return Run(matrix, {row}, history)[0];
  }

  // Pearson's statistic of `draws` draws against the exact probabilities, over ids expected at
  // least five times; the rest is one bin. An id of probability zero must not be drawn.
  void ExpectDistribution(const std::vector<float>& logits, SamplingRow row,
                          const std::vector<int32_t>& history, int64_t draws) {
    const std::vector<double> p = reference::TokenProbabilities(logits, row, history);
    row.history_count = static_cast<int32_t>(history.size());
    MatrixF matrix(draws, static_cast<int64_t>(logits.size()));
    std::vector<SamplingRow> rows;
    for (int64_t i = 0; i < draws; ++i) {
      std::copy(logits.begin(), logits.end(), matrix.data.begin() + i * matrix.cols);
      row.counter = static_cast<uint64_t>(i);
      rows.push_back(row);
    }
    std::vector<double> counts(p.size());
    for (const SampledToken& token : Run(matrix, rows, history)) {
      ASSERT_GE(token.token_id, 0);
      ASSERT_GT(p[static_cast<size_t>(token.token_id)], 0) << "id " << token.token_id;
      ++counts[static_cast<size_t>(token.token_id)];
    }
    double statistic = 0;
    double rest = 0;
    double rest_count = 0;
    int bins = 0;
    for (size_t id = 0; id < p.size(); ++id) {
      const double expected = p[id] * static_cast<double>(draws);
      if (expected < 5) {
        rest += expected;
        rest_count += counts[id];
        continue;
      }
      statistic += (counts[id] - expected) * (counts[id] - expected) / expected;
      ++bins;
    }
    if (rest > 0) {
      statistic += (rest_count - rest) * (rest_count - rest) / std::max(rest, 5.0);
      ++bins;
    }
    // Five standard deviations above the mean of the chi-square distribution.
    const double freedom = std::max(bins - 1, 1);
    EXPECT_LT(statistic, freedom + 5 * std::sqrt(2 * freedom) + 5) << "seed " << row.seed;
  }
};

std::vector<float> RandomLogits(std::mt19937_64& random, int64_t vocab, float scale) {
  return RandomMatrix(random, 1, vocab, scale, DType::kF32).data;
}

TEST_P(SampleTest, GreedyTakesTheLowestOfTheBestIdsAndItsLogProbability) {
  auto random = Random(1);
  for (int64_t vocab : {1, 2, 15, 16, 17, 511, 512, 513, 5000}) {
    std::vector<float> logits = RandomLogits(random, vocab, 3);
    const size_t last = static_cast<size_t>(vocab - 1);
    const size_t first = last / 3;
    logits[last] = logits[first] = 20;
    const SampledToken token = RunOne(logits, {});
    EXPECT_EQ(token.token_id, static_cast<int32_t>(first));
    EXPECT_NEAR(token.logprob, reference::LogSoftmax(logits)[first], 1e-5);
  }
}

TEST_P(SampleTest, RowsWithNanOrNothingFiniteFailAndOthersDoNot) {
  const float infinity = std::numeric_limits<float>::infinity();
  MatrixF logits(5, 40);
  for (int64_t i = 0; i < 40; ++i) logits.at(0, i) = logits.at(3, i) = static_cast<float>(i);
  for (int64_t i = 0; i < 40; ++i) logits.at(2, i) = -infinity;
  logits.at(1, 39) = std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 0; i < 39; ++i) logits.at(3, i) = -infinity;
  logits.at(4, 7) = infinity;
  SamplingRow sampled;
  sampled.temperature = 1;
  for (const SamplingRow& row : {SamplingRow{}, sampled}) {
    const auto tokens = Run(logits, std::vector<SamplingRow>(5, row));
    EXPECT_GE(tokens[0].token_id, 0);
    EXPECT_EQ(tokens[1].token_id, -1);
    EXPECT_EQ(tokens[2].token_id, -1);
    EXPECT_EQ(tokens[3].token_id, 39);
    EXPECT_NEAR(tokens[3].logprob, 0, 1e-6);
    EXPECT_EQ(tokens[4].token_id, -1);
  }
}

TEST_P(SampleTest, DrawsFollowTheExactProbabilitiesOfEveryRule) {
  auto random = Random(2);
  const std::vector<float> logits = RandomLogits(random, 700, 2);
  SamplingRow rows[8];
  for (SamplingRow& row : rows) row.temperature = 1;
  rows[1].temperature = 0.3f;
  rows[2].top_k = 20;
  rows[3].top_p = 0.7f;
  rows[4].min_p = 0.1f;
  rows[5].top_k = 50, rows[5].top_p = 0.8f, rows[5].min_p = 0.05f;
  rows[6].repetition_penalty = 1.7f;
  rows[7].top_p = 0.9f, rows[7].temperature = 2;
  for (size_t i = 0; i < std::size(rows); ++i) {
    SCOPED_TRACE("rule set " + std::to_string(i));
    rows[i].seed = 1000 + i;
    const bool penalty = rows[i].repetition_penalty != 1;
    ExpectDistribution(logits, rows[i],
                       penalty ? std::vector<int32_t>{3, 3, 699, 0, 5} : std::vector<int32_t>(),
                       4000);
  }
}

TEST_P(SampleTest, FewIdsAreDrawnExactlyAsOftenAsTheyShould) {
  SamplingRow row;
  row.temperature = 1;
  row.seed = 42;
  ExpectDistribution({0, 1, 2, -std::numeric_limits<float>::infinity(), 2}, row, {}, 20000);
}

TEST_P(SampleTest, TopKOneIsGreedyAndEqualProbabilitiesCountFromTheLowestId) {
  std::vector<float> logits(600, 1.0f);
  SamplingRow row;
  row.temperature = 0.8f;
  for (uint64_t counter = 0; counter < 50; ++counter) {
    row.counter = counter;
    row.top_k = 1;
    EXPECT_EQ(RunOne(logits, row).token_id, 0);
    row.top_k = 3;
    EXPECT_LT(RunOne(logits, row).token_id, 3);
    row.top_k = 0;
    row.top_p = 0.01f;  // of 600 equal ids: six
    EXPECT_LT(RunOne(logits, row).token_id, 6);
    row.top_p = 1;
  }
}

TEST_P(SampleTest, ExtremesOfTheRulesKeepAtLeastTheBestId) {
  auto random = Random(3);
  std::vector<float> logits = RandomLogits(random, 300, 1);
  logits[123] = 9;
  SamplingRow row;
  row.temperature = 1;
  for (uint64_t counter = 0; counter < 20; ++counter) {
    row.counter = counter;
    for (float top_p : {0.0f, 1e-30f}) {
      row.top_p = top_p;
      EXPECT_EQ(RunOne(logits, row).token_id, 123);
    }
    row.top_p = 1;
    row.min_p = 1;
    EXPECT_EQ(RunOne(logits, row).token_id, 123);
    row.min_p = 0;
    row.temperature = 1e-20f;
    EXPECT_EQ(RunOne(logits, row).token_id, 123);
    row.temperature = 1;
    row.top_k = 5000;  // more than there are
    EXPECT_GE(RunOne(logits, row).token_id, 0);
    row.top_k = 0;
  }
}

TEST_P(SampleTest, ThePenaltyCountsEachSeenIdOnceAndLeavesTheLogProbabilityAlone) {
  std::vector<float> logits(50, -5.0f);
  logits[10] = 4;
  logits[11] = 3;
  logits[12] = -1;
  SamplingRow row;
  row.repetition_penalty = 1.3f;
  row.history_count = 3;
  EXPECT_EQ(RunOne(logits, row, {10, 10, 10}).token_id, 10);  // 4 / 1.3 > 3, if only once
  row.repetition_penalty = 1.5f;
  row.history_start = 1;
  row.history_count = 3;
  SampledToken token = RunOne(logits, row, {11, 10, 10, 10, 11});  // 4 / 1.5 < 3
  EXPECT_EQ(token.token_id, 11);
  EXPECT_NEAR(token.logprob, reference::LogSoftmax(logits)[11], 1e-5);
  row.history_start = 0;
  row.history_count = 2;
  token = RunOne(logits, row, {11, 10});  // both: 4 / 1.5 > 3 / 1.5
  EXPECT_EQ(token.token_id, 10);
  EXPECT_NEAR(token.logprob, reference::LogSoftmax(logits)[10], 1e-5);
  row.repetition_penalty = 1;
  EXPECT_EQ(RunOne(logits, row, {11, 10}).token_id, 10);
}

TEST_P(SampleTest, ATokenDependsOnItsLogitsSeedAndCounterAlone) {
  auto random = Random(4);
  const MatrixF logits = RandomMatrix(random, 12, 1500, 2, DType::kF32);
  std::vector<SamplingRow> rows(12);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].temperature = 0.9f;
    rows[i].top_p = i % 2 == 0 ? 0.9f : 1;
    rows[i].top_k = i % 3 == 0 ? 100 : 0;
    rows[i].seed = 77 + i;
    rows[i].counter = i * i;
  }
  const auto together = Run(logits, rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const SampledToken alone = Run(RowsOf(logits, row, row + 1), {rows[i]})[0];
    EXPECT_EQ(alone.token_id, together[i].token_id);
    EXPECT_EQ(std::memcmp(&alone.logprob, &together[i].logprob, sizeof(float)), 0);
  }
}

TEST_P(SampleTest, AnEmptyBatchIsFine) { EXPECT_TRUE(Run(MatrixF(0, 10), {}).empty()); }

INSTANTIATE_TEST_SUITE_P(Cpu, SampleTest, testing::ValuesIn(AllDevices()), DeviceParamName);

// The known answers published with the Random123 library.
TEST(PhiloxTest, GivesTheKnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, UniformsFillTheUnitInterval) {
  double sum = 0;
  for (uint64_t counter = 0; counter < 20000; ++counter) {
    const double u = PhiloxUniform(5, counter);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
}

}  // namespace
}  // namespace quire::kernels
