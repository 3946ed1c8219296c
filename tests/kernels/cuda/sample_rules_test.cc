#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/kernels/cuda/sample_fixture.h"

// The rules that change logits, and the reports that no rule changes.

namespace quire::kernels::cuda {
namespace {

constexpr float kBan = -std::numeric_limits<float>::infinity();

class SampleRulesTest : public SampleKernelTest {
 protected:
  // What greedy sampling takes.
  int32_t Best(const std::vector<float>& logits, const SampleRules& row) {
    return SampleOne(logits, row).token_id;
  }
};

TEST_P(SampleRulesTest, ARepetitionPenaltyCountsEachSeenIdOnceAndLeavesTheLogprobAlone) {
  Random(1);
  std::vector<float> logits(50, -5.0f);
  logits[10] = 4, logits[11] = 3, logits[12] = -1;
  SampleRules row;
  row.rules.repetition_penalty = 1.3f;
  row.context.prompt.assign(2000, 10);
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
  logits.assign(50, -9.0f);
  logits[10] = -2, logits[11] = -3;
  row.rules.repetition_penalty = 1.6f;
  row.context.prompt = {10};
  row.context.generated = {};
  EXPECT_EQ(Best(logits, row), 11);  // -2 * 1.6 < -3
}

TEST_P(SampleRulesTest, FrequencyAndPresenceCountGeneratedIdsAlone) {
  Random(2);
  std::vector<float> logits(50, -9.0f);
  logits[10] = 4, logits[11] = 3;
  for (bool on_device : {false, true}) {
    SampleRules row;
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

TEST_P(SampleRulesTest, AnIdIsCountedExactlyHoweverOftenItWasGenerated) {
  Random(3);
  std::vector<float> logits(200, -9.0f);
  logits[10] = 4, logits[199] = 3;
  for (int32_t times : {99, 101}) {
    SampleRules row;
    row.context.generated.assign(3000, 5);
    std::fill_n(row.context.generated.begin() + 700, times, 10);
    row.rules.frequency_penalty = 0.01f;
    EXPECT_EQ(Best(logits, row), times < 100 ? 10 : 199) << times << " times";
  }
}

TEST_P(SampleRulesTest, BiasesAddUpInOrderAndMinusInfinityBans) {
  Random(4);
  const std::vector<float> logits = {1, 2, 3, 4};
  SampleRules row;
  row.context.edits = {{0, -1, 2.5f}};
  EXPECT_EQ(Best(logits, row), 3);
  row.context.edits = {{0, -1, 2.5f}, {0, -1, 0.75f}};
  EXPECT_EQ(Best(logits, row), 0);
  row.context.edits = {{3, -1, kBan}, {3, -1, 100}, {2, -1, -1.5f}};
  const SampledToken token = SampleOne(logits, row);
  EXPECT_EQ(token.token_id, 1);
  EXPECT_NEAR(token.logprob, reference::LogSoftmax(logits)[1], 1e-5);
  // In f32, 1 + 2^30 - 2^30 is 0 and 1 - 2^30 + 2^30 as well, but 2^30 - 2^30 + 1 is 1.
  row.context.edits = {{0, -1, 0x1p30f}, {0, -1, -0x1p30f}, {0, -1, 3.5f}};
  for (int32_t id : {1, 2, 3}) row.context.edits.push_back({id, -1, -1.0f});
  EXPECT_EQ(Best(logits, row), 0);  // 3.5 against 1, 2 and 3
  std::rotate(row.context.edits.begin(), row.context.edits.begin() + 2, row.context.edits.end());
  EXPECT_EQ(Best(logits, row), 3);  // 3.5 came first and was lost
}

TEST_P(SampleRulesTest, ManyEditsOfManyIdsAreAllMade) {
  auto random = Random(5);
  const std::vector<float> logits = RandomLogits(random, 900, 2);
  SampleRules row;
  row.rules.temperature = 1;
  row.rules.repetition_penalty = 1.2f;
  row.context.prompt = {1, 2, 3, 500, 500};
  row.context.generated = {44};
  row.context.last_on_device = true;
  for (int i = 0; i < 1300; ++i) {
    const auto id = static_cast<int32_t>(random() % 600);
    const int32_t after = i % 3 == 0 ? 44 : i % 3 == 1 ? 45 : -1;
    row.context.edits.push_back({id, after, i % 50 == 0 ? kBan : static_cast<float>(i % 5) / 4});
  }
  ExpectExactDraws(logits, row, 60);
}

TEST_P(SampleRulesTest, AnEditAfterAnIdWaitsForThatIdFromTheDevice) {
  Random(6);
  const std::vector<float> logits = {1, 2, 3, 4};
  SampleRules row;
  row.context.edits = {{3, 1, kBan}, {2, 0, kBan}};
  row.context.last_on_device = true;
  for (const auto& [last, best] : {std::pair{1, 2}, {0, 3}, {2, 3}, {3, 3}}) {
    row.context.generated = {last};
    EXPECT_EQ(Best(logits, row), best) << "after " << last;
  }
  row.context.last_on_device = false;
  row.context.generated = {1};
  EXPECT_EQ(Best(logits, row), 3) << "what the host knows it has already looked at";
}

TEST_P(SampleRulesTest, OnlyAllowedIdsAreDrawnAndOtherRulesWorkAmongThem) {
  auto random = Random(7);
  const std::vector<float> logits = RandomLogits(random, 700, 2);
  SampleRules row;
  row.rules.temperature = 1;
  row.rules.seed = 5;
  row.context.allowed = {699, 3, 512, 3};
  ExpectExactDraws(logits, row, 60);
  row.context.edits = {{3, -1, kBan}, {4, -1, 100}};
  ExpectExactDraws(logits, row, 60);
  row.context.allowed = {44};
  row.context.edits = {};
  EXPECT_EQ(SampleOne(logits, row).token_id, 44);
}

TEST_P(SampleRulesTest, RulesThatLeaveNothingFailTheirRowAlone) {
  Random(8);
  MatrixF logits(3, 40);
  for (float& x : logits.data) x = 1;
  std::vector<SampleRules> rows(3);
  rows[1].context.allowed = {5};
  rows[1].context.edits = {{5, -1, kBan}};
  for (float temperature : {0.0f, 1.0f}) {
    for (SampleRules& row : rows) row.rules.temperature = temperature;
    const std::vector<SampledToken> tokens = Sample(logits, rows).tokens;
    EXPECT_GE(tokens[0].token_id, 0);
    EXPECT_EQ(tokens[1].token_id, kNothingAllowed);
    EXPECT_GE(tokens[2].token_id, 0);
  }
}

TEST_P(SampleRulesTest, ARowFailsWithTheRowItFollows) {
  Random(9);
  SampleRules row;
  row.context.last_on_device = true;
  for (int32_t failed : {kNotFinite, kNothingAllowed}) {
    row.context.generated = {failed};
    EXPECT_EQ(SampleOne({1, 2, 3}, row).token_id, kNotFinite);
  }
}

TEST_P(SampleRulesTest, DrawsInvertTheExactDistributionOfAllRulesTogether) {
  auto random = Random(10);
  const std::vector<float> logits = RandomLogits(random, 701, 2);
  SampleRules row;
  row.rules.temperature = 0.9f;
  row.context.prompt = {3, 3, 699, 0, 5};
  row.context.generated = {17, 5, 17, 44};
  const auto check = [&](uint64_t seed) {
    row.rules.seed = seed;
    for (bool on_device : {false, true}) {
      row.context.last_on_device = on_device;
      ExpectExactDraws(logits, row, 60);
    }
  };
  row.rules.repetition_penalty = 1.7f;
  check(1);
  row.rules.frequency_penalty = 0.5f;
  row.rules.presence_penalty = 1;
  check(2);
  row.context.edits = {{17, -1, 3}, {5, 44, 4}, {6, 45, 50}, {44, -1, kBan}};
  check(3);
  row.rules.top_k = 60, row.rules.top_p = 0.9f, row.rules.min_p = 0.01f;
  check(4);
  row.context.allowed.resize(300);
  std::iota(row.context.allowed.begin(), row.context.allowed.end(), 0);
  check(5);
}

TEST_P(SampleRulesTest, RowsDoNotSeeEachOthersRules) {
  auto random = Random(11);
  const MatrixF logits = RandomMatrix(random, 12, 900, 2, DType::kF32);
  std::vector<SampleRules> rows(12);
  const auto some = [&] { return static_cast<int32_t>(random() % 900); };
  for (size_t i = 0; i < rows.size(); ++i) {
    SampleRules& row = rows[i];
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
  const std::vector<SampledToken> together = Sample(logits, rows, 0, 2).tokens;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto begin = static_cast<int64_t>(i);
    const SampledToken alone = Sample(RowsOf(logits, begin, begin + 1), {rows[i]}).tokens[0];
    EXPECT_EQ(std::memcmp(&alone, &together[i], sizeof(alone)), 0) << "row " << i;
  }
}

TEST_P(SampleRulesTest, ATargetIsScoredAndNotDrawn) {
  auto random = Random(12);
  for (int64_t vocab : {1, 16, 513, 2000}) {
    const std::vector<float> logits = RandomLogits(random, vocab, 3);
    const std::vector<double> exact = reference::LogSoftmax(logits);
    for (int64_t target : {int64_t{0}, vocab / 2, vocab - 1}) {
      SampleRules row;
      row.rules.target = static_cast<int32_t>(target);
      const SampledToken token = SampleOne(logits, row);
      EXPECT_EQ(token.token_id, target);
      EXPECT_NEAR(token.logprob, exact[static_cast<size_t>(target)], 1e-5);
    }
  }
  SampleRules row;
  row.rules.target = 1;
  EXPECT_EQ(SampleOne({1, std::numeric_limits<float>::quiet_NaN()}, row).token_id, kNotFinite);
  EXPECT_EQ(SampleOne({1, kBan}, row).logprob, kBan);
}

// Of the row's logits, the lower id first where they are equal.
std::vector<int32_t> IdsByLogit(const std::vector<float>& logits) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  return ids;
}

TEST_P(SampleRulesTest, AlternativesAreTheLikeliestIdsBeforeAnyRule) {
  auto random = Random(13);
  constexpr int32_t kMost = 100;
  for (int64_t vocab : {5, 127, 512, 513, 3000}) {
    MatrixF logits(4, vocab);
    for (float& x : logits.data) x = static_cast<float>(random() % 40) - 20;  // many are equal
    for (int64_t i = 0; i < vocab; ++i) logits.at(3, i) *= 0.37f * static_cast<float>(i % 11);
    std::vector<SampleRules> rows(4);
    rows[0].rules.alternatives = 5;
    rows[0].context.edits = {{0, -1, kBan}};
    rows[0].rules.repetition_penalty = 3;
    rows[0].context.prompt = {1, 2, 3};
    rows[2].rules.alternatives = 20;
    rows[2].rules.target = 3;
    rows[3].rules.alternatives = kMost;
    rows[3].rules.temperature = 1;
    const std::vector<TokenLogprob> got = Sample(logits, rows, kMost).alternatives;
    EXPECT_TRUE(IsPoison(got[kMost])) << "a row that wants none got some";
    for (size_t r : {size_t{0}, size_t{2}, size_t{3}}) {
      const auto row = static_cast<int64_t>(r);
      const std::vector<float> own = RowsOf(logits, row, row + 1).data;
      const std::vector<double> exact = reference::LogSoftmax(own);
      const std::vector<int32_t> ids = IdsByLogit(own);
      const auto wanted = static_cast<size_t>(rows[r].rules.alternatives);
      for (size_t i = 0; i < wanted; ++i) {
        const TokenLogprob& alternative = got[r * kMost + i];
        ASSERT_EQ(alternative.token_id, i < ids.size() ? ids[i] : -1)
            << "place " << i << " vocab " << vocab << " row " << r;
        if (i >= ids.size()) continue;
        EXPECT_NEAR(alternative.logprob, exact[static_cast<size_t>(ids[i])], 1e-5);
      }
    }
  }
}

TEST_P(SampleRulesTest, AlternativesLeaveOutMinusInfinityAndFailedRowsHaveNone) {
  Random(14);
  MatrixF logits(2, 4);
  logits.data = {kBan, 2, kBan, 3, 1, std::numeric_limits<float>::quiet_NaN(), 2, 0};
  SampleRules row;
  row.rules.alternatives = 3;
  const std::vector<TokenLogprob> got = Sample(logits, {row, row}, 3).alternatives;
  EXPECT_EQ(got[0].token_id, 3);
  EXPECT_EQ(got[1].token_id, 1);
  for (size_t i : {2, 3, 4, 5}) EXPECT_EQ(got[i].token_id, -1) << i;
}

INSTANTIATE_TEST_SUITE_P(Threads, SampleRulesTest, testing::Values(64, kSampleThreads),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace quire::kernels::cuda
