#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>

#include "absl/status/statusor.h"

// How long a step takes, by what it computes. Pure.

namespace quire::cli {

// What one step computes, as far as its time depends on it. Plain sums.
struct StepWork {
  double prompt_tokens = 0;  // query tokens of prompts' chunks
  double decode_rows = 0;    // sequences with one query token
  double decode_kv = 0;      // tokens of KV that those look at
  double shared_kv = 0;      // of which an earlier one of them looks at the same
  double prompt_kv = 0;      // tokens of KV that the chunks' query tokens look at, each counted

  // A sequence's `tokens` query tokens behind `start` tokens of KV. One token alone costs what a
  // decode row does.
  void Add(int32_t start, int32_t tokens);
};

// In seconds. The matrices of a step are read once, which takes a while whatever it computes, and
// multiplied with every query token, a decode row's also with the matrix of the vocabulary: the
// slower of both counts (the roofline model, Williams, Waterman and Patterson, 2009). Attention
// reads the KV of each decode row for that row alone, and shares what it reads among the query
// tokens of a chunk, so a token of KV costs either differently; and more where decode rows look at
// more KV than stays in the caches between steps.
struct StepTimeModel {
  double step = 0;             // of each
  double weights = 0;          // to read them
  double token = 0;            // to multiply them with a query token of a prompt
  double decode_row = 0;       // and with a decode row's, and to draw the next
  double decode_kv_token = 0;  // as in StepWork
  double prompt_kv_token = 0;
  // Not seconds: of what decode rows look at, counting once what they share, so much stays in the
  // caches.
  double cached_kv_tokens = 0;
  double far_kv_token = 0;  // for each of the others besides

  double Seconds(const StepWork& work) const;
};

struct StepSample {
  StepWork work;
  double seconds = 0;  // > 0
};

// Of predictions, as a share of what was measured.
struct StepTimeError {
  double median = 0;
  double p90 = 0;
  double max = 0;
};

// The model that is closest to the samples: least squares of the relative errors, no coefficient
// below 0. A prompt's chunk counts by its tokens. At least one sample.
StepTimeModel FitStepTimes(std::span<const StepSample> samples);
StepTimeError ErrorOf(const StepTimeModel& model, std::span<const StepSample> samples);

// {"step": 1e-3, "weights": ...}: the names above, 0 where left out. InvalidArgument for anything
// else, or where every step would take no time.
absl::StatusOr<StepTimeModel> ReadStepTimes(const nlohmann::ordered_json& json);
nlohmann::ordered_json StepTimesJson(const StepTimeModel& model);

}  // namespace quire::cli
