#pragma once

#include <cstdint>

namespace quire::kernels {

// How one row of logits becomes a token, or the score of a known one. The rules that fill it in:
// core/sample. They apply in this order, each to what the one before leaves:
//
//   1. allowed ids: every other id is out
//   2. edits, in their order: biases add up, and one of minus infinity takes its id out
//   3. repetition penalty, once for every id of the history: divides its logit where that is
//      positive, multiplies it where it is negative (Keskar et al., 2019)
//   4. frequency and presence penalty, for ids generated n > 0 times: the logit loses
//      n * frequency_penalty + presence_penalty
//   5. temperature; at 0 the likeliest id is taken, the lowest of equals, and the rest is skipped
//   6. top-k, 7. top-p, 8. min-p, each renormalised; equal probabilities count from the lowest id
//
// Logprobs and alternatives are those of the logits before any rule.
struct SamplingRow {
  float temperature = 0;
  float top_p = 1;               // keep the smallest set with at least this probability; 1: off
  float min_p = 0;               // drop ids below min_p times the best probability; 0: off
  float repetition_penalty = 1;  // 1: off
  float frequency_penalty = 0;   // 0: off
  float presence_penalty = 0;    // 0: off
  int32_t top_k = 0;             // 0: off
  // The ids seen so far: [history_start, history_start + history_count) of SampleParams::history,
  // the last history_generated of them generated. Where history_row >= 0, the id sampled in that
  // row of the step before follows them, generated too; it may not be known to the host yet.
  int32_t history_start = 0;
  int32_t history_count = 0;
  int32_t history_generated = 0;
  int32_t history_row = -1;
  int32_t edits_start = 0;  // of SampleParams::edits
  int32_t edits_count = 0;
  int32_t allowed_start = 0;  // of SampleParams::allowed
  int32_t allowed_count = 0;  // 0: all ids are allowed
  int32_t alternatives = 0;   // how many of the likeliest ids to report
  int32_t target = -1;        // >= 0: nothing is drawn, this id is scored
  uint64_t seed = 0;          // the draw depends on (seed, counter) and the logits alone
  uint64_t counter = 0;       // index of the generated token in its sequence
};

// A change of one logit.
struct LogitEdit {
  int32_t token = 0;
  int32_t after = -1;  // >= 0: only where the id sampled in history_row is this one
  float bias = 0;      // added; minus infinity takes the id out
};

// Values of SampledToken::token_id that are no token.
inline constexpr int32_t kNotFinite = -1;       // a NaN or +inf among the logits, or nothing finite
inline constexpr int32_t kNothingAllowed = -2;  // rules 1 and 2 leave no id

struct SampledToken {
  int32_t token_id = kNotFinite;  // the target where there is one
  float logprob = 0;              // natural log of the id's probability
};

// One of a row's likeliest ids.
struct TokenLogprob {
  int32_t token_id = -1;  // -1: there are no more
  float logprob = 0;
};

}  // namespace quire::kernels
