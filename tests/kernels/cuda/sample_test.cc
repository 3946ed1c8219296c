#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/cuda/sample_fixture.h"

namespace quire::kernels::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using SampleTest = SampleKernelTest;

TEST_P(SampleTest, GreedyTakesTheLowestOfTheBestIdsAndItsLogProbability) {
  auto random = Random(1);
  for (int64_t vocab : {1, 2, 15, 127, 128, 129, 511, 2049, 4095, 4096, 4097, 5000, 12289}) {
    std::vector<float> logits = RandomLogits(random, vocab, 3);
    const size_t last = static_cast<size_t>(vocab - 1);
    const size_t first = last / 3;
    logits[last] = logits[first] = 20;
    const SampledToken token = SampleOne(logits, {});
    EXPECT_EQ(token.token_id, static_cast<int32_t>(first));
    EXPECT_NEAR(token.logprob, reference::LogSoftmax(logits)[first], 1e-5) << "vocab " << vocab;
  }
  EXPECT_EQ(SampleOne({-1, -0.0f, 0.0f}, {}).token_id, 1) << "both zeros are equal";
}

TEST_P(SampleTest, LogprobsAreExactWhereverTheMaximumLies) {
  auto random = Random(2);
  for (float scale : {0.0f, 0.1f, 10.0f, 300.0f}) {
    std::vector<float> logits = RandomLogits(random, 9000, scale);
    std::sort(logits.begin(), logits.end());  // every thread's maximum moves all the time
    const std::vector<double> exact = reference::LogSoftmax(logits);
    for (int32_t target : {0, 1, 1500, 2999, 4096, 8999}) {
      SampleRules row;
      row.rules.target = target;
      const SampledToken token = SampleOne(logits, row);
      EXPECT_EQ(token.token_id, target);
      const double tolerance = 1e-5 + std::abs(exact[static_cast<size_t>(target)]) * 1e-7;
      EXPECT_NEAR(token.logprob, exact[static_cast<size_t>(target)], tolerance);
    }
  }
}

TEST_P(SampleTest, IdsAtMinusInfinityCountNothingWhereverTheyLie) {
  auto random = Random(10);
  for (size_t begin : {size_t{0}, size_t{100}, size_t{2800}}) {
    std::vector<float> logits = RandomLogits(random, 3000, 2);
    std::fill_n(logits.begin() + static_cast<int64_t>(begin), 200, -kInfinity);
    SampleRules row;
    row.rules.temperature = 1;
    row.rules.target = 2000;
    EXPECT_NEAR(SampleOne(logits, row).logprob, reference::LogSoftmax(logits)[2000], 1e-5);
    row.rules.target = -1;
    ExpectExactDraws(logits, row, 10);
  }
}

TEST_P(SampleTest, RowsWithNanOrNothingFiniteFailAndOthersDoNot) {
  MatrixF logits(7, 40);
  for (int64_t i = 0; i < 40; ++i) logits.at(0, i) = logits.at(6, i) = static_cast<float>(i);
  for (int64_t i = 0; i < 40; ++i) logits.at(2, i) = -kInfinity;
  for (int64_t i = 0; i < 39; ++i) logits.at(3, i) = -kInfinity;
  logits.at(1, 39) = kNan;
  logits.at(3, 39) = 39;
  logits.at(4, 7) = kInfinity;
  logits.at(5, 0) = -kNan;
  for (float temperature : {0.0f, 1.0f}) {
    SampleRules row;
    row.rules.temperature = temperature;
    const auto tokens = Sample(logits, std::vector<SampleRules>(7, row)).tokens;
    for (size_t good : {0, 6}) EXPECT_GE(tokens[good].token_id, 0);
    for (size_t bad : {1, 2, 4, 5}) EXPECT_EQ(tokens[bad].token_id, kNotFinite) << bad;
    EXPECT_EQ(tokens[3].token_id, 39);
    EXPECT_NEAR(tokens[3].logprob, 0, 1e-6);
  }
}

// Temperature, top-k, top-p, min-p.
std::vector<SamplingRow> RuleSets() {
  const auto make = [](float temperature, int32_t top_k, float top_p, float min_p) {
    SamplingRow row;
    row.temperature = temperature;
    row.top_k = top_k;
    row.top_p = top_p;
    row.min_p = min_p;
    return row;
  };
  return {make(1, 0, 1, 0),       make(0.3f, 0, 1, 0),       make(1, 20, 1, 0),
          make(1, 0, 0.7f, 0),    make(1, 0, 1, 0.1f),       make(1, 50, 0.8f, 0.05f),
          make(2, 0, 0.9f, 0),    make(1, 699, 0.999f, 0),   make(0.7f, 5, 0.9999f, 0.001f),
          make(1, 0, 0.9999f, 0), make(50, 300, 0.5f, 0.9f), make(1, 700, 1, 0)};
}

TEST_P(SampleTest, DrawsInvertTheExactDistributionOfEveryRule) {
  auto random = Random(3);
  const std::vector<float> logits = RandomLogits(random, 700, 2);
  uint64_t seed = 1000;
  for (const SamplingRow& rules : RuleSets()) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SampleRules row{rules, {}};
    row.rules.seed = seed++;
    ExpectExactDraws(logits, row, 100);
  }
}

TEST_P(SampleTest, DrawsInvertTheExactDistributionWhereManyIdsAreEqual) {
  auto random = Random(4);
  for (int64_t vocab : {1, 3, 130, 701, 3001}) {
    std::vector<float> logits(static_cast<size_t>(vocab));
    for (float& x : logits) x = static_cast<float>(random() % 7) / 2;
    uint64_t seed = 2000;
    for (const SamplingRow& rules : RuleSets()) {
      SCOPED_TRACE("vocab " + std::to_string(vocab) + " seed " + std::to_string(seed));
      SampleRules row{rules, {}};
      row.rules.top_k = std::min(row.rules.top_k, static_cast<int32_t>(vocab));
      row.rules.seed = seed++;
      ExpectExactDraws(logits, row, 12);
    }
  }
}

TEST_P(SampleTest, DrawsFollowTheDistributionInChiSquare) {
  auto random = Random(5);
  const std::vector<float> logits = RandomLogits(random, 300, 2);
  SampleRules row;
  row.rules.temperature = 0.8f;
  row.rules.seed = 42;
  const int64_t draws = GetParam() == kSampleThreads ? 100 : 2000;
  ExpectDistribution({0, 1, 2, -kInfinity, 2}, row, draws);
  row.rules.top_k = 60, row.rules.top_p = 0.95f;
  ExpectDistribution(logits, row, draws);
}

// Weights just below powers of two: where top-k ends, the next id's key has nearly all bits set.
TEST_P(SampleTest, TopKEndsBeforeTheNextWeight) {
  Random(12);
  std::vector<float> logits;
  for (int i = 0; i < 12; ++i) logits.push_back(-0.693148f * static_cast<float>(i));
  for (int32_t top_k : {1, 2, 3, 7}) {
    SampleRules row;
    row.rules.temperature = 1;
    row.rules.top_k = top_k;
    ExpectExactDraws(logits, row, 40);
  }
}

TEST_P(SampleTest, EqualProbabilitiesCountFromTheLowestId) {
  Random(6);
  for (size_t vocab : {size_t{600}, size_t{5000}}) {
    const std::vector<float> logits(vocab, 1.0f);
    MatrixF matrix(20, static_cast<int64_t>(vocab));
    std::fill(matrix.data.begin(), matrix.data.end(), 1.0f);
    std::vector<SampleRules> rows(20);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].rules.temperature = 0.8f;
      rows[i].rules.counter = i;
    }
    const auto expect_below = [&](int32_t limit) {
      for (const SampledToken& token : Sample(matrix, rows).tokens) {
        EXPECT_TRUE(token.token_id >= 0 && token.token_id < limit) << token.token_id;
      }
    };
    for (int32_t k : {1, 3, 200, 513}) {
      for (SampleRules& row : rows) row.rules.top_k = k;
      expect_below(k);
    }
    for (SampleRules& row : rows) row.rules.top_k = 0, row.rules.top_p = 0.01f;
    expect_below(static_cast<int32_t>(vocab / 100));
  }
}

TEST_P(SampleTest, ExtremesOfTheRulesKeepAtLeastTheBestId) {
  auto random = Random(7);
  std::vector<float> logits = RandomLogits(random, 300, 1);
  logits[123] = 9;
  for (uint64_t counter = 0; counter < 3; ++counter) {
    SampleRules row;
    row.rules.counter = counter;
    const auto with = [&](float temperature, int32_t top_k, float top_p, float min_p) {
      row.rules.temperature = temperature;
      row.rules.top_k = top_k;
      row.rules.top_p = top_p;
      row.rules.min_p = min_p;
      return SampleOne(logits, row).token_id;
    };
    EXPECT_EQ(with(1, 0, 0, 0), 123);
    EXPECT_EQ(with(1, 0, 1e-30f, 0), 123);
    EXPECT_EQ(with(1, 0, 1, 1), 123);
    EXPECT_EQ(with(1, 0, 1, 7), 123);
    EXPECT_EQ(with(1e-20f, 0, 1, 0), 123);
    EXPECT_EQ(with(1e-20f, 2, 0.5f, 0.1f), 123);
    EXPECT_EQ(with(1, 1, 1, 0), 123);
    EXPECT_GE(with(1, 5000, 1, 0), 0);
    EXPECT_GE(with(1e30f, 0, 0.5f, 0), 0);
  }
}

TEST_P(SampleTest, ARowsBitsDoNotDependOnTheOthersOrTheGrid) {
  auto random = Random(8);
  for (int64_t vocab : {1500, 1501}) {  // rows that are aligned and rows that are not
    const MatrixF logits = RandomMatrix(random, 10, vocab, 2, DType::kF32);
    std::vector<SampleRules> rows(10);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].rules.temperature = 0.9f;
      rows[i].rules.top_p = i % 2 == 0 ? 0.9f : 1;
      rows[i].rules.top_k = i % 3 == 0 ? 100 : 0;
      rows[i].rules.seed = 77 + i;
      rows[i].rules.counter = i * i;
    }
    const auto together = Sample(logits, rows).tokens;
    const auto in_rounds = Sample(logits, rows, 0, 3).tokens;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      const SampledToken alone = Sample(RowsOf(logits, row, row + 1), {rows[i]}).tokens[0];
      EXPECT_EQ(std::memcmp(&alone, &together[i], sizeof(alone)), 0);
      EXPECT_EQ(std::memcmp(&alone, &in_rounds[i], sizeof(alone)), 0);
    }
  }
}

TEST_P(SampleTest, ALargeVocabularyIsNarrowedInSeveralSteps) {
  auto random = Random(9);
  std::vector<float> logits = RandomLogits(random, 128256, 2);
  SampleRules row;
  row.rules.temperature = 1;
  row.rules.seed = 5;
  ExpectExactDraws(logits, row, 3);
  row.rules.top_k = 1000, row.rules.top_p = 0.9f;
  ExpectExactDraws(logits, row, 3);
  std::fill(logits.begin(), logits.end(), 0.5f);
  row.rules.top_k = 77777, row.rules.top_p = 0.5f;
  ExpectExactDraws(logits, row, 3);
}

TEST_P(SampleTest, AnEmptyBatchWritesNothing) {
  EXPECT_TRUE(Sample(MatrixF(0, 10), {}, 2).tokens.empty());
}

TEST_P(SampleTest, PartsOfTheVocabularyWithoutALogitOrWithNoneThatIsFiniteAreSeen) {
  auto random = Random(11);
  std::vector<float> logits = RandomLogits(random, 3 * kSummaryIds, 2);
  std::fill_n(logits.begin() + kSummaryIds, kSummaryIds, -kInfinity);
  SampleRules row;
  row.rules.target = 7;
  EXPECT_NEAR(SampleOne(logits, row).logprob, reference::LogSoftmax(logits)[7], 1e-5);
  std::fill_n(logits.begin(), 2 * kSummaryIds, -kInfinity);
  EXPECT_GE(SampleOne(logits, {}).token_id, 2 * kSummaryIds);
  for (const float bad : {kNan, kInfinity}) {
    logits[kSummaryIds + 5] = bad;
    EXPECT_EQ(SampleOne(logits, row).token_id, kNotFinite);
  }
}

TEST(SampleShapeTest, ScratchFollowsTheGridAndTheVocabulary) {
  EXPECT_EQ(SampleShape({1, 1, 1, 0}).grid_x, 1);
  EXPECT_EQ(SampleShape({1, 1, 1, 7}).grid_x, 7);
  EXPECT_EQ(SampleShape({1, 1, 1, 1 << 20}).grid_x, kMaxSampleBlocks);
  EXPECT_EQ(SampleWorkBytes({1, 1, 1, 3}, 1001), 3u * 1004 * 4);
  EXPECT_EQ(SampleSummaryBytes({1, 1, 1, 600}, 4097), 600u * 2 * sizeof(SummaryPart));
}

INSTANTIATE_TEST_SUITE_P(Threads, SampleTest, testing::Values(64, kSampleThreads),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace quire::kernels::cuda
