#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/api/philox.h"
#include "tests/kernels/sample_fixture.h"

namespace quire::kernels {
namespace {

class SampleTest : public SampleFixture {
 protected:
  std::vector<SampledToken> Run(const MatrixF& logits, const std::vector<SamplingRow>& rules) {
    std::vector<Row> rows;
    for (const SamplingRow& row : rules) rows.push_back({.rules = row});
    return Sample(logits, rows).tokens;
  }
  SampledToken RunOne(const std::vector<float>& logits, const SamplingRow& rules) {
    return SampleOne(logits, {.rules = rules});
  }
};

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
  SamplingRow rows[7];
  for (SamplingRow& row : rows) row.temperature = 1;
  rows[1].temperature = 0.3f;
  rows[2].top_k = 20;
  rows[3].top_p = 0.7f;
  rows[4].min_p = 0.1f;
  rows[5].top_k = 50, rows[5].top_p = 0.8f, rows[5].min_p = 0.05f;
  rows[6].top_p = 0.9f, rows[6].temperature = 2;
  for (size_t i = 0; i < std::size(rows); ++i) {
    SCOPED_TRACE("rule set " + std::to_string(i));
    rows[i].seed = 1000 + i;
    ExpectDistribution(logits, {.rules = rows[i]}, 4000);
  }
}

TEST_P(SampleTest, FewIdsAreDrawnExactlyAsOftenAsTheyShould) {
  SamplingRow row;
  row.temperature = 1;
  row.seed = 42;
  ExpectDistribution({0, 1, 2, -std::numeric_limits<float>::infinity(), 2}, {.rules = row}, 20000);
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
