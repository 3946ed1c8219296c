#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/kernels/sample_fixture.h"

// The rules that change logits, and the reports that no rule changes.

namespace quire::kernels {
namespace {

constexpr float kBan = -std::numeric_limits<float>::infinity();

class SampleRulesTest : public SampleFixture {
 protected:
  // What greedy sampling takes.
  int32_t Best(const std::vector<float>& logits, const Row& row) {
    return SampleOne(logits, row).token_id;
  }
};

TEST_P(SampleRulesTest, ARepetitionPenaltyCountsEachSeenIdOnceAndLeavesTheLogprobAlone) {
  std::vector<float> logits(50, -5.0f);
  logits[10] = 4, logits[11] = 3, logits[12] = -1;
  Row row;
  row.rules.repetition_penalty = 1.3f;
  row.context.prompt = {10, 10, 10};
  EXPECT_EQ(Best(logits, row), 10);  // 4 / 1.3 > 3, if only once
  row.rules.repetition_penalty = 1.5f;
  const SampledToken token = SampleOne(logits, row);  // 4 / 1.5 < 3
  EXPECT_EQ(token.token_id, 11);
  EXPECT_NEAR(token.logprob, reference::LogSoftmax(logits)[11], 1e-5);
  row.context.prompt = {11};
  row.context.generated = {10};
  EXPECT_EQ(Best(logits, row), 10);  // both: 4 / 1.5 > 3 / 1.5
  row.rules.repetition_penalty = 1;
  row.context.prompt = {10};
  EXPECT_EQ(Best(logits, row), 10);
}

TEST_P(SampleRulesTest, FrequencyAndPresenceCountGeneratedIdsAlone) {
  std::vector<float> logits(50, -9.0f);
  logits[10] = 4, logits[11] = 3;
  for (bool on_device : {false, true}) {
    Row row;
    row.context.last_on_device = on_device;
    row.context.prompt = {10, 10, 10, 10};
    row.context.generated = {7};
    row.rules.frequency_penalty = 0.4f;
    EXPECT_EQ(Best(logits, row), 10) << "the prompt does not count";
    row.context.generated = {10, 7, 10};
    EXPECT_EQ(Best(logits, row), 10) << "4 - 2 * 0.4 > 3";
    row.context.generated = {10, 10, 10};
    EXPECT_EQ(Best(logits, row), 11) << "4 - 3 * 0.4 < 3";
    row.rules.frequency_penalty = 0;
    row.rules.presence_penalty = 0.9f;
    EXPECT_EQ(Best(logits, row), 10) << "4 - 0.9 > 3, however often";
    row.rules.presence_penalty = 1.1f;
    EXPECT_EQ(Best(logits, row), 11);
    row.rules.presence_penalty = -9;
    row.context.generated = {11};
    EXPECT_EQ(Best(logits, row), 11) << "a negative penalty is a bonus";
  }
}

TEST_P(SampleRulesTest, BiasesAddUpAndMinusInfinityBans) {
  const std::vector<float> logits = {1, 2, 3, 4};
  Row row;
  row.context.edits = {{0, -1, 2.5f}};
  EXPECT_EQ(Best(logits, row), 3);
  row.context.edits = {{0, -1, 2.5f}, {0, -1, 0.75f}};
  EXPECT_EQ(Best(logits, row), 0);
  row.context.edits = {{3, -1, kBan}, {3, -1, 100}, {2, -1, -1.5f}};
  const SampledToken token = SampleOne(logits, row);
  EXPECT_EQ(token.token_id, 1);
  EXPECT_NEAR(token.logprob, reference::LogSoftmax(logits)[1], 1e-5);
}

TEST_P(SampleRulesTest, AnEditAfterAnIdWaitsForThatIdFromTheDevice) {
  const std::vector<float> logits = {1, 2, 3, 4};
  Row row;
  row.context.edits = {{3, 1, kBan}, {2, 0, kBan}};
  row.context.last_on_device = true;
  for (const auto& [last, best] : {std::pair{1, 2}, {0, 3}, {2, 3}, {3, 3}}) {
    row.context.generated = {last};
    EXPECT_EQ(Best(logits, row), best) << "after " << last;
  }
}

TEST_P(SampleRulesTest, OnlyAllowedIdsAreDrawnAndOtherRulesWorkAmongThem) {
  auto random = Random(11);
  const std::vector<float> logits = RandomLogits(random, 700, 2);
  Row row;
  row.rules.temperature = 1;
  row.rules.seed = 5;
  row.context.allowed = {699, 3, 512, 3};
  ExpectDistribution(logits, row, 3000);
  row.context.edits = {{3, -1, kBan}};
  ExpectDistribution(logits, row, 3000);
  row.context.allowed = {44};
  row.context.edits = {};
  EXPECT_EQ(SampleOne(logits, row).token_id, 44);
}

TEST_P(SampleRulesTest, RulesThatLeaveNothingFailTheirRowAlone) {
  MatrixF logits(3, 40);
  for (float& x : logits.data) x = 1;
  std::vector<Row> rows(3);
  rows[1].context.allowed = {5};
  rows[1].context.edits = {{5, -1, kBan}};
  for (float temperature : {0.0f, 1.0f}) {
    for (Row& row : rows) row.rules.temperature = temperature;
    const std::vector<SampledToken> tokens = Sample(logits, rows).tokens;
    EXPECT_GE(tokens[0].token_id, 0);
    EXPECT_EQ(tokens[1].token_id, kNothingAllowed);
    EXPECT_GE(tokens[2].token_id, 0);
  }
}

TEST_P(SampleRulesTest, ARowFailsWithTheRowItFollows) {
  Row row;
  row.context.last_on_device = true;
  for (int32_t failed : {kNotFinite, kNothingAllowed}) {
    row.context.generated = {failed};
    EXPECT_EQ(SampleOne({1, 2, 3}, row).token_id, kNotFinite);
  }
}

TEST_P(SampleRulesTest, DrawsFollowTheExactProbabilitiesOfAllRulesTogether) {
  auto random = Random(12);
  const std::vector<float> logits = RandomLogits(random, 700, 2);
  Row row;
  row.rules.temperature = 0.9f;
  row.context.prompt = {3, 3, 699, 0, 5};
  row.context.generated = {17, 5, 17, 44};
  const auto check = [&](uint64_t seed) {
    row.rules.seed = seed;
    for (bool on_device : {false, true}) {
      row.context.last_on_device = on_device;
      ExpectDistribution(logits, row, 3000);
    }
  };
  row.rules.repetition_penalty = 1.7f;
  check(1);
  row.rules.frequency_penalty = 0.5f;
  row.rules.presence_penalty = 1;
  check(2);
  // The likeliest id, so that it shows whether an edit after an id counts: where 44 is known to the
  // device alone.
  const auto best =
      static_cast<int32_t>(std::max_element(logits.begin(), logits.begin() + 300) - logits.begin());
  row.context.edits = {{17, -1, 3}, {best, 44, 2}, {6, 45, 50}, {44, -1, kBan}};
  check(3);
  row.rules.top_k = 60, row.rules.top_p = 0.9f, row.rules.min_p = 0.01f;
  check(4);
  row.context.allowed.resize(300);
  std::iota(row.context.allowed.begin(), row.context.allowed.end(), 0);
  check(5);
}

TEST_P(SampleRulesTest, RowsDoNotSeeEachOthersRules) {
  auto random = Random(13);
  const MatrixF logits = RandomMatrix(random, 40, 900, 2, DType::kF32);
  std::vector<Row> rows(40);
  const auto some = [&] { return static_cast<int32_t>(random() % 900); };
  for (size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i];
    row.rules.temperature = static_cast<float>(i % 3);
    row.rules.counter = i;
    row.rules.repetition_penalty = i % 2 == 0 ? 1.3f : 1;
    row.rules.frequency_penalty = i % 3 == 0 ? 0.7f : 0;
    row.context.prompt = {some(), some()};
    row.context.generated = {some(), some(), some()};
    row.context.last_on_device = i % 5 == 0;
    row.context.edits = {{some(), -1, 5}, {some(), -1, kBan}};
    if (i % 4 == 0) row.context.allowed = {some(), some(), some()};
  }
  const std::vector<SampledToken> together = Sample(logits, rows).tokens;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto begin = static_cast<int64_t>(i);
    const SampledToken alone = Sample(RowsOf(logits, begin, begin + 1), {rows[i]}).tokens[0];
    EXPECT_EQ(alone.token_id, together[i].token_id);
    EXPECT_EQ(std::memcmp(&alone.logprob, &together[i].logprob, sizeof(float)), 0);
  }
}

TEST_P(SampleRulesTest, ATargetIsScoredAndNotDrawn) {
  auto random = Random(14);
  for (int64_t vocab : {1, 16, 513, 2000}) {
    const std::vector<float> logits = RandomLogits(random, vocab, 3);
    const std::vector<double> exact = reference::LogSoftmax(logits);
    for (int64_t target : {int64_t{0}, vocab / 2, vocab - 1}) {
      Row row;
      row.rules.target = static_cast<int32_t>(target);
      const SampledToken token = SampleOne(logits, row);
      EXPECT_EQ(token.token_id, target);
      EXPECT_NEAR(token.logprob, exact[static_cast<size_t>(target)], 1e-5);
    }
  }
  Row row;
  row.rules.target = 1;
  EXPECT_EQ(SampleOne({1, std::numeric_limits<float>::quiet_NaN()}, row).token_id, kNotFinite);
  EXPECT_EQ(SampleOne({1, kBan}, row).logprob, kBan);
}

TEST_P(SampleRulesTest, AlternativesAreTheLikeliestIdsBeforeAnyRule) {
  auto random = Random(15);
  for (int64_t vocab : {5, 511, 512, 513, 3000}) {
    MatrixF logits(3, vocab);
    for (float& x : logits.data) x = static_cast<float>(random() % 40);  // many are equal
    std::vector<Row> rows(3);
    rows[0].rules.alternatives = 5;
    rows[0].context.edits = {{0, -1, kBan}};
    rows[0].rules.repetition_penalty = 3;
    rows[0].context.prompt = {1, 2, 3};
    rows[2].rules.alternatives = 20;
    rows[2].rules.target = 3;
    const std::vector<TokenLogprob> got = Sample(logits, rows, 20).alternatives;
    for (size_t r : {size_t{0}, size_t{2}}) {
      const auto row = static_cast<int64_t>(r);
      const std::vector<double> exact = reference::LogSoftmax(RowsOf(logits, row, row + 1).data);
      std::vector<int32_t> ids(static_cast<size_t>(vocab));
      std::iota(ids.begin(), ids.end(), 0);
      std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
        return exact[static_cast<size_t>(a)] > exact[static_cast<size_t>(b)];
      });
      for (int32_t i = 0; i < rows[r].rules.alternatives; ++i) {
        const TokenLogprob& alternative = got[r * 20 + static_cast<size_t>(i)];
        const auto place = static_cast<size_t>(i);
        ASSERT_EQ(alternative.token_id, i < vocab ? ids[place] : -1) << "place " << i;
        if (i >= vocab) continue;
        EXPECT_NEAR(alternative.logprob, exact[static_cast<size_t>(ids[place])], 1e-5);
      }
    }
  }
}

TEST_P(SampleRulesTest, AFailedRowHasNoAlternatives) {
  Row row;
  row.rules.alternatives = 2;
  MatrixF logits(1, 3);
  logits.data = {1, std::numeric_limits<float>::quiet_NaN(), 2};
  for (const TokenLogprob& alternative : Sample(logits, {row}, 2).alternatives) {
    EXPECT_EQ(alternative.token_id, -1);
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, SampleRulesTest, testing::ValuesIn(AllDevices()), DeviceParamName);

}  // namespace
}  // namespace quire::kernels
