#include "core/request/sampling_params.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

absl::Status OutOfRange(absl::string_view field, double value, absl::string_view range) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, "; it must be ", range));
}

absl::Status ValidateNumbers(const SamplingParams& p) {
  if (!(std::isfinite(p.temperature) && p.temperature >= 0 && p.temperature <= 100)) {
    return OutOfRange("temperature", p.temperature, "from 0 (greedy) to 100");
  }
  if (!(p.top_p > 0 && p.top_p <= 1)) {
    return OutOfRange("top_p", p.top_p, "above 0 and at most 1 (off)");
  }
  if (!(p.min_p >= 0 && p.min_p <= 1)) {
    return OutOfRange("min_p", p.min_p, "from 0 (off) to 1");
  }
  if (p.top_k < 0) return OutOfRange("top_k", p.top_k, "0 (off) or positive");
  if (!(p.repetition_penalty > 0 && p.repetition_penalty <= 100)) {
    return OutOfRange("repetition_penalty", p.repetition_penalty, "above 0 and at most 100");
  }
  if (p.max_tokens < 1) return OutOfRange("max_tokens", p.max_tokens, "at least 1");
  return absl::OkStatus();
}

absl::Status ValidateStops(const SamplingParams& p, const SamplingLimits& limits, int32_t vocab) {
  if (p.stop.size() > static_cast<size_t>(limits.max_stop_strings)) {
    return absl::InvalidArgumentError(absl::StrCat("stop has ", p.stop.size(), " strings; at most ",
                                                   limits.max_stop_strings, " are allowed"));
  }
  for (const std::string& stop : p.stop) {
    if (stop.empty() || stop.size() > static_cast<size_t>(limits.max_stop_string_bytes)) {
      return absl::InvalidArgumentError(absl::StrCat("stop holds a string of ", stop.size(),
                                                     " bytes; each must have 1 to ",
                                                     limits.max_stop_string_bytes));
    }
  }
  if (p.stop_token_ids.size() > static_cast<size_t>(limits.max_stop_token_ids)) {
    return absl::InvalidArgumentError(absl::StrCat("stop_token_ids has ", p.stop_token_ids.size(),
                                                   " ids; at most ", limits.max_stop_token_ids,
                                                   " are allowed"));
  }
  for (TokenId id : p.stop_token_ids) {
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(absl::StrCat(
          "stop_token_ids holds ", id, "; ids of this model run from 0 to ", vocab - 1));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateSamplingParams(const SamplingParams& params, const SamplingLimits& limits,
                                    int32_t vocab_size) {
  QUIRE_RETURN_IF_ERROR(ValidateNumbers(params));
  return ValidateStops(params, limits, vocab_size);
}

}  // namespace quire
