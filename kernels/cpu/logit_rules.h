#pragma once

#include <cstdint>

#include "kernels/api/ops.h"
#include "kernels/cpu/host_memory.h"

namespace quire::kernels {

// The rules that change logits before a token is drawn: 1 to 4 of SamplingRow. One object a
// worker, for its working memory. An id outside the vocabulary is a broken invariant.
class LogitRules {
 public:
  // Working memory for rows of up to `vocab` logits. False when there is none.
  [[nodiscard]] bool Reserve(int64_t vocab);

  // The row's logits after the rules: `logits` itself where there are none, else memory that lives
  // until the next call. `last` is the id sampled in the row's history_row, -1 without one.
  const float* Apply(const float* logits, const SampleParams& params, const SamplingRow& row,
                     int32_t last);

 private:
  void Start(const float* logits, int64_t vocab, const int32_t* allowed, int32_t count);
  void Edit(int64_t vocab, const LogitEdit& edit, int32_t last);
  void Penalise(int64_t vocab, const SamplingRow& row, const int32_t* history, int32_t last);
  void PenaliseOnce(int32_t id, const SamplingRow& row);

  HostMemory memory_;
  int64_t capacity_ = 0;
  float* edited_ = nullptr;       // [vocab]
  int32_t* generated_ = nullptr;  // [vocab] how often, for ids of the history; -1: penalised
};

}  // namespace quire::kernels
