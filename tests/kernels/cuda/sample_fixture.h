#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/reference/sampling.h"
#include "tests/kernels/cuda/test_gpu.h"

namespace quire::kernels::cuda {

// A row of logits' rules, without what points into the context.
struct SampleRules {
  SamplingRow rules{};
  reference::SamplingContext context{};
};

struct SampleOutcome {
  std::vector<SampledToken> tokens;
  std::vector<TokenLogprob> alternatives;  // [rows, max_alternatives]
};

// Runs the sampling kernel, in blocks of the parameter's number of threads, and holds it to the
// oracle of kernels/reference.
class SampleKernelTest : public testing::TestWithParam<int> {
 protected:
  std::mt19937_64 Random(uint64_t seed);

  // `blocks` 0: as the capacity asks for.
  SampleOutcome Sample(const MatrixF& logits, const std::vector<SampleRules>& rows,
                       int32_t max_alternatives = 0, int32_t blocks = 0);
  SampledToken SampleOne(const std::vector<float>& logits, const SampleRules& row);

  // Of `draws` draws each is the id at which the exact cumulative distribution passes the draw's
  // uniform, give or take rounding, and no id of probability zero.
  // Large blocks take long to emulate and make fewer draws.
  void ExpectExactDraws(const std::vector<float>& logits, SampleRules row, int64_t draws);
  // Pearson's statistic over ids expected at least five times; the rest is one bin.
  void ExpectDistribution(const std::vector<float>& logits, SampleRules row, int64_t draws);

 private:
  std::vector<int32_t> Draws(const std::vector<float>& logits, SampleRules row, int64_t draws);
  KernelEntry Entry() const;

  uint64_t seed_ = 0;
};

std::vector<float> RandomLogits(std::mt19937_64& random, int64_t vocab, float scale);

}  // namespace quire::kernels::cuda
