#include "kernels/cpu/logit_rules.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace quire::kernels {
namespace {

constexpr int32_t kPenalised = -1;

bool HasPenalty(const SamplingRow& row) {
  return row.repetition_penalty != 1 || row.frequency_penalty != 0 || row.presence_penalty != 0;
}

}  // namespace

bool LogitRules::Reserve(int64_t vocab) {
  if (vocab <= capacity_) return true;
  const auto n = static_cast<size_t>(vocab);
  if (!memory_.Reserve(n * (sizeof(float) + sizeof(int32_t)))) return false;
  edited_ = memory_.as<float>();
  generated_ = reinterpret_cast<int32_t*>(edited_ + n);
  capacity_ = vocab;
  return true;
}

const float* LogitRules::Apply(const float* logits, const SampleParams& params,
                               const SamplingRow& row, int32_t last) {
  const bool penalty = HasPenalty(row) && (row.history_count > 0 || last >= 0);
  if (row.allowed_count == 0 && row.edits_count == 0 && !penalty) return logits;
  Start(logits, params.vocab, params.allowed + row.allowed_start, row.allowed_count);
  for (int32_t i = 0; i < row.edits_count; ++i) {
    Edit(params.vocab, params.edits[row.edits_start + i], last);
  }
  if (penalty) Penalise(params.vocab, row, params.history + row.history_start, last);
  return edited_;
}

void LogitRules::Start(const float* logits, int64_t vocab, const int32_t* allowed, int32_t count) {
  if (count == 0) {
    std::memcpy(edited_, logits, static_cast<size_t>(vocab) * sizeof(float));
    return;
  }
  std::fill_n(edited_, vocab, -std::numeric_limits<float>::infinity());
  for (int32_t i = 0; i < count; ++i) {
    const int32_t id = allowed[i];
    KERNELS_CHECK(id >= 0 && id < vocab);
    edited_[id] = logits[id];
  }
}

void LogitRules::Edit(int64_t vocab, const LogitEdit& edit, int32_t last) {
  KERNELS_CHECK(edit.token >= 0 && edit.token < vocab);
  if (edit.after < 0 || edit.after == last) edited_[edit.token] += edit.bias;
}

void LogitRules::Penalise(int64_t vocab, const SamplingRow& row, const int32_t* history,
                          int32_t last) {
  const int32_t count = row.history_count;
  // Only the entries of ids in the history are ever looked at, so nothing else is cleared.
  for (int32_t i = 0; i < count; ++i) {
    KERNELS_CHECK(history[i] >= 0 && history[i] < vocab);
    generated_[history[i]] = 0;
  }
  if (last >= 0) generated_[last] = 0;
  for (int32_t i = count - row.history_generated; i < count; ++i) ++generated_[history[i]];
  if (last >= 0) ++generated_[last];
  for (int32_t i = 0; i < count; ++i) PenaliseOnce(history[i], row);
  if (last >= 0) PenaliseOnce(last, row);
}

void LogitRules::PenaliseOnce(int32_t id, const SamplingRow& row) {
  const int32_t times = std::exchange(generated_[id], kPenalised);
  if (times == kPenalised) return;
  float& x = edited_[id];
  x = x > 0 ? x / row.repetition_penalty : x * row.repetition_penalty;
  if (times > 0) x -= static_cast<float>(times) * row.frequency_penalty + row.presence_penalty;
}

}  // namespace quire::kernels
