#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api/sampling.h"

// The sampling rules as SamplingRow states them, one after the other, in double: the oracle of
// Ops::Sample.

namespace quire::kernels::reference {

// What a row points into, spelled out.
struct SamplingContext {
  std::vector<int32_t> prompt;
  std::vector<int32_t> generated;
  bool last_on_device = false;  // the last of them is that of history_row
  std::vector<LogitEdit> edits;
  std::vector<int32_t> allowed;
};

// The exact probability of every id; empty where the rules leave none.
std::vector<double> TokenProbabilities(const std::vector<float>& logits, const SamplingRow& row,
                                       const SamplingContext& context);

std::vector<double> LogSoftmax(const std::vector<float>& logits);

}  // namespace quire::kernels::reference
