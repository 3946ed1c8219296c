#pragma once

#include <cstdint>
#include <vector>

#include "kernels/reference/sampling.h"
#include "tests/kernels/batch_fixture.h"

namespace quire::kernels {

// Rows of logits with their sampling rules, laid out as the engine does it.
class SampleFixture : public BatchFixture {
 protected:
  struct Row {
    SamplingRow rules{};  // without what points into the context
    reference::SamplingContext context{};
  };
  struct Outcome {
    std::vector<SampledToken> tokens;
    std::vector<TokenLogprob> alternatives;  // [rows, max_alternatives]
  };

  Outcome Sample(const MatrixF& logits, const std::vector<Row>& rows, int32_t max_alternatives = 0);
  SampledToken SampleOne(const std::vector<float>& logits, const Row& row);

  // Pearson's statistic of `draws` draws against the exact probabilities, over ids expected at
  // least five times; the rest is one bin. An id of probability zero must not be drawn.
  void ExpectDistribution(const std::vector<float>& logits, Row row, int64_t draws);
};

std::vector<float> RandomLogits(std::mt19937_64& random, int64_t vocab, float scale);

}  // namespace quire::kernels
