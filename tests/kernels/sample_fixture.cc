#include "tests/kernels/sample_fixture.h"

#include <algorithm>
#include <cmath>

namespace quire::kernels {
namespace {

void Append(const std::vector<int32_t>& from, std::vector<int32_t>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

// Upper limit of Pearson's statistic: five standard deviations above its mean.
double Limit(int bins) {
  const double freedom = std::max(bins - 1, 1);
  return freedom + 5 * std::sqrt(2 * freedom) + 5;
}

}  // namespace

SampleFixture::Outcome SampleFixture::Sample(const MatrixF& logits, const std::vector<Row>& rows,
                                             int32_t max_alternatives) {
  const auto count = static_cast<int32_t>(logits.rows);
  std::vector<SamplingRow> rules;
  // Each array begins with what no row points to.
  std::vector<int32_t> history = {-1}, allowed = {-1};
  std::vector<LogitEdit> edits = {{-1, -1, 0}};
  std::vector<SampledToken> previous = {{-1, 0}};
  for (const Row& row : rows) {
    SamplingRow& r = rules.emplace_back(row.rules);
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
  const DeviceBatch batch = MakePlainBatch(count, std::vector<int32_t>(static_cast<size_t>(count)));
  const DeviceBuffer buffers[] = {UploadAs(logits, DType::kF32),
                                  Upload(rules),
                                  Upload(history),
                                  Upload(edits),
                                  Upload(allowed),
                                  Upload(previous)};
  const DeviceBuffer out = NewBuffer(rows.size() * sizeof(SampledToken));
  const size_t alternatives_count = rows.size() * static_cast<size_t>(max_alternatives);
  const DeviceBuffer alternatives = NewBuffer(alternatives_count * sizeof(TokenLogprob));
  ops().Sample({.batch = &batch.view,
                .logits = buffers[0].as<float>(),
                .vocab = static_cast<int32_t>(logits.cols),
                .rows = buffers[1].as<SamplingRow>(),
                .history = buffers[2].as<int32_t>(),
                .edits = buffers[3].as<LogitEdit>(),
                .allowed = buffers[4].as<int32_t>(),
                .previous = buffers[5].as<SampledToken>(),
                .out = out.as<SampledToken>(),
                .alternatives = alternatives.as<TokenLogprob>(),
                .max_alternatives = max_alternatives});
  return {Download<SampledToken>(out, rows.size()),
          Download<TokenLogprob>(alternatives, alternatives_count)};
}

SampledToken SampleFixture::SampleOne(const std::vector<float>& logits, const Row& row) {
  MatrixF matrix(1, static_cast<int64_t>(logits.size()));
  matrix.data = logits;
  return Sample(matrix, {row}).tokens[0];
}

void SampleFixture::ExpectDistribution(const std::vector<float>& logits, Row row, int64_t draws) {
  const std::vector<double> p = reference::TokenProbabilities(logits, row.rules, row.context);
  ASSERT_EQ(p.size(), logits.size());
  MatrixF matrix(draws, static_cast<int64_t>(logits.size()));
  std::vector<Row> rows;
  for (int64_t i = 0; i < draws; ++i) {
    std::copy(logits.begin(), logits.end(), matrix.data.begin() + i * matrix.cols);
    row.rules.counter = static_cast<uint64_t>(i);
    rows.push_back(row);
  }
  std::vector<double> counts(p.size());
  for (const SampledToken& token : Sample(matrix, rows).tokens) {
    ASSERT_GE(token.token_id, 0);
    ASSERT_GT(p[static_cast<size_t>(token.token_id)], 0) << "id " << token.token_id;
    ++counts[static_cast<size_t>(token.token_id)];
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
  EXPECT_LT(statistic, Limit(bins)) << "seed " << row.rules.seed;
}

std::vector<float> RandomLogits(std::mt19937_64& random, int64_t vocab, float scale) {
  return RandomMatrix(random, 1, vocab, scale, DType::kF32).data;
}

}  // namespace quire::kernels
