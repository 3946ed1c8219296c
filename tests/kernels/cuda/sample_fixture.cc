#include "tests/kernels/cuda/sample_fixture.h"

#include <algorithm>
#include <cmath>

#include "kernels/api/philox.h"

namespace quire::kernels::cuda {
namespace {

constexpr int32_t kSpareRows = 2;

void Append(const std::vector<int32_t>& from, std::vector<int32_t>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

// What the rows point into. Each array begins with what no row points to.
struct Arrays {
  std::vector<SamplingRow> rows;
  std::vector<int32_t> history = {-1};
  std::vector<int32_t> allowed = {-1};
  std::vector<LogitEdit> edits = {{-1, -1, 0}};
  std::vector<SampledToken> previous = {{-1, 0}};

  void Add(const SampleRules& row) {
    SamplingRow& r = rows.emplace_back(row.rules);
    std::vector<int32_t> generated = row.context.generated;
    if (row.context.last_on_device) {
      r.history_row = static_cast<int32_t>(previous.size());
      previous.push_back({generated.back(), 0});
      generated.pop_back();
    }
    r.history_start = static_cast<int32_t>(history.size());
    r.history_count = static_cast<int32_t>(row.context.prompt.size() + generated.size());
    r.history_generated = static_cast<int32_t>(generated.size());
    Append(row.context.prompt, &history);
    Append(generated, &history);
    r.edits_start = static_cast<int32_t>(edits.size());
    r.edits_count = static_cast<int32_t>(row.context.edits.size());
    edits.insert(edits.end(), row.context.edits.begin(), row.context.edits.end());
    r.allowed_start = static_cast<int32_t>(allowed.size());
    r.allowed_count = static_cast<int32_t>(row.context.allowed.size());
    Append(row.context.allowed, &allowed);
  }
};

}  // namespace

std::mt19937_64 SampleKernelTest::Random(uint64_t seed) {
  RecordProperty("seed", std::to_string(seed));
  seed_ = seed;
  return std::mt19937_64(seed);
}

KernelEntry SampleKernelTest::Entry() const { return GpuUnderTest().sample(GetParam()); }

SampleOutcome SampleKernelTest::Sample(const MatrixF& logits, const std::vector<SampleRules>& rows,
                                       int32_t max_alternatives, int32_t blocks) {
  Arrays arrays;
  for (const SampleRules& row : rows) arrays.Add(row);
  const auto count = static_cast<int32_t>(rows.size());
  const auto vocab = static_cast<int32_t>(logits.cols);
  const std::vector<BatchCounts> counts = {{1, 1, count}};
  const BatchCapacity capacity = {1, 1, 1, count + kSpareRows};
  LaunchShape shape = SampleShape(capacity);
  if (blocks > 0) shape.grid_x = blocks;
  const size_t spare = static_cast<size_t>(kSpareRows);
  std::vector<uint32_t> work = Poisoned<uint32_t>(shape.grid_x * SampleWorkStride(vocab));
  std::vector<SummaryPart> summaries = Poisoned<SummaryPart>(
      static_cast<int64_t>(SampleSummaryBytes(capacity, vocab) / sizeof(SummaryPart)));
  SampleOutcome out;
  out.tokens = Poisoned<SampledToken>(count + kSpareRows);
  out.alternatives = Poisoned<TokenLogprob>(int64_t{count + kSpareRows} * max_alternatives);
  const SampleArgs args = {.counts = counts.data(),
                           .logits = logits.data.data(),
                           .vocab = vocab,
                           .rows = arrays.rows.data(),
                           .history = arrays.history.data(),
                           .edits = arrays.edits.data(),
                           .allowed = arrays.allowed.data(),
                           .previous = arrays.previous.data(),
                           .out = out.tokens.data(),
                           .alternatives = out.alternatives.data(),
                           .max_alternatives = max_alternatives,
                           .work = work.data(),
                           .summaries = summaries.data()};
  LaunchShape summary_shape = SampleSummaryShape(capacity, vocab);
  summary_shape.grid_x = shape.grid_x;
  Launch(GpuUnderTest().table.sample_summary(), summary_shape, args, ++seed_);
  Launch(Entry(), shape, args, ++seed_);
  for (size_t i = 0; i < spare; ++i) {
    EXPECT_TRUE(IsPoison(out.tokens[rows.size() + i])) << "a spare row was written";
  }
  out.tokens.resize(rows.size());
  return out;
}

SampledToken SampleKernelTest::SampleOne(const std::vector<float>& logits, const SampleRules& row) {
  MatrixF matrix(1, static_cast<int64_t>(logits.size()));
  matrix.data = logits;
  return Sample(matrix, {row}).tokens[0];
}

std::vector<int32_t> SampleKernelTest::Draws(const std::vector<float>& logits, SampleRules row,
                                             int64_t draws) {
  MatrixF matrix(draws, static_cast<int64_t>(logits.size()));
  std::vector<SampleRules> rows;
  for (int64_t i = 0; i < draws; ++i) {
    std::copy(logits.begin(), logits.end(), matrix.data.begin() + i * matrix.cols);
    row.rules.counter = static_cast<uint64_t>(i);
    rows.push_back(row);
  }
  std::vector<int32_t> ids;
  for (const SampledToken& token : Sample(matrix, rows).tokens) ids.push_back(token.token_id);
  return ids;
}

void SampleKernelTest::ExpectExactDraws(const std::vector<float>& logits, SampleRules row,
                                        int64_t draws) {
  constexpr double kRounding = 1e-5;
  const std::vector<double> p = reference::TokenProbabilities(logits, row.rules, row.context);
  ASSERT_EQ(p.size(), logits.size());
  std::vector<double> below = {0};  // probability of all lower ids
  for (double x : p) below.push_back(below.back() + x);
  if (GetParam() == kSampleThreads) draws = (draws + 4) / 5;
  uint64_t counter = 0;
  for (int32_t id : Draws(logits, row, draws)) {
    const double uniform = PhiloxUniform(row.rules.seed, counter++);
    ASSERT_TRUE(id >= 0 && id < static_cast<int32_t>(p.size())) << id;
    const auto at = static_cast<size_t>(id);
    ASSERT_GT(p[at], 0) << "id " << id << ", seed " << row.rules.seed;
    ASSERT_GE(uniform, below[at] - kRounding) << "id " << id << ", seed " << row.rules.seed;
    ASSERT_LE(uniform, below[at + 1] + kRounding) << "id " << id << ", seed " << row.rules.seed;
  }
}

void SampleKernelTest::ExpectDistribution(const std::vector<float>& logits, SampleRules row,
                                          int64_t draws) {
  const std::vector<double> p = reference::TokenProbabilities(logits, row.rules, row.context);
  ASSERT_EQ(p.size(), logits.size());
  std::vector<double> counts(p.size());
  for (int32_t id : Draws(logits, row, draws)) {
    ASSERT_GE(id, 0);
    ASSERT_GT(p[static_cast<size_t>(id)], 0) << "id " << id;
    ++counts[static_cast<size_t>(id)];
  }
  double statistic = 0, rest = 0, rest_count = 0;
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
  const double freedom = std::max(bins - 1, 1);
  EXPECT_LT(statistic, freedom + 5 * std::sqrt(2 * freedom) + 5) << "seed " << row.rules.seed;
}

std::vector<float> RandomLogits(std::mt19937_64& random, int64_t vocab, float scale) {
  return RandomMatrix(random, 1, vocab, scale, DType::kF32).data;
}

}  // namespace quire::kernels::cuda
