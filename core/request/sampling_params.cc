#include "core/request/sampling_params.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

absl::Status OutOfRange(absl::string_view field, double value, absl::string_view range) {
  return InvalidField(field, absl::StrCat(" is ", value, "; it must be ", range));
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
  if (!(p.repetition_penalty >= 1e-3f && p.repetition_penalty <= 100)) {
    return OutOfRange("repetition_penalty", p.repetition_penalty, "from 0.001 to 100");
  }
  if (!(std::abs(p.frequency_penalty) <= 2)) {
    return OutOfRange("frequency_penalty", p.frequency_penalty, "from -2 to 2; 0 is off");
  }
  if (!(std::abs(p.presence_penalty) <= 2)) {
    return OutOfRange("presence_penalty", p.presence_penalty, "from -2 to 2; 0 is off");
  }
  return absl::OkStatus();
}

absl::Status ValidateLengths(const SamplingParams& p) {
  if (p.max_tokens < 1) return OutOfRange("max_tokens", p.max_tokens, "at least 1");
  if (p.min_tokens < 0 || p.min_tokens > p.max_tokens) {
    return OutOfRange("min_tokens", p.min_tokens,
                      absl::StrCat("from 0 to max_tokens, which is ", p.max_tokens));
  }
  return absl::OkStatus();
}

absl::Status CheckCount(absl::string_view field, absl::string_view items, size_t count,
                        int32_t limit) {
  if (count <= static_cast<size_t>(limit)) return absl::OkStatus();
  return InvalidField(
      field, absl::StrCat(" has ", count, " ", items, "; at most ", limit, " are allowed"));
}

absl::Status CheckId(absl::string_view field, TokenId id, int32_t vocab) {
  if (id >= 0 && id < vocab) return absl::OkStatus();
  return InvalidField(field,
                      absl::StrCat(" holds ", id, "; ids of this model run from 0 to ", vocab - 1));
}

absl::Status CheckIds(absl::string_view field, const std::vector<TokenId>& ids, int32_t limit,
                      int32_t vocab) {
  QUIRE_RETURN_IF_ERROR(CheckCount(field, "ids", ids.size(), limit));
  for (TokenId id : ids) QUIRE_RETURN_IF_ERROR(CheckId(field, id, vocab));
  return absl::OkStatus();
}

absl::Status ValidateStops(const SamplingParams& p, const SamplingLimits& limits, int32_t vocab) {
  QUIRE_RETURN_IF_ERROR(CheckCount("stop", "strings", p.stop.size(), limits.max_stop_strings));
  for (const std::string& stop : p.stop) {
    if (stop.empty() || stop.size() > static_cast<size_t>(limits.max_stop_string_bytes)) {
      return InvalidField(
          "stop", absl::StrCat(" holds a string of ", stop.size(), " bytes; each must have 1 to ",
                               limits.max_stop_string_bytes));
    }
  }
  return CheckIds("stop_token_ids", p.stop_token_ids, limits.max_stop_token_ids, vocab);
}

absl::Status ValidateTokenRules(const SamplingParams& p, const SamplingLimits& limits,
                                int32_t vocab) {
  QUIRE_RETURN_IF_ERROR(
      CheckCount("logit_bias", "entries", p.logit_bias.size(), limits.max_logit_biases));
  for (const LogitBias& entry : p.logit_bias) {
    QUIRE_RETURN_IF_ERROR(CheckId("logit_bias", entry.token, vocab));
    if (!(std::abs(entry.bias) <= 100)) {
      return OutOfRange(absl::StrCat("logit_bias[", entry.token, "]"), entry.bias,
                        "from -100 (never drawn) to 100");
    }
  }
  QUIRE_RETURN_IF_ERROR(
      CheckIds("allowed_token_ids", p.allowed_token_ids, limits.max_allowed_token_ids, vocab));
  QUIRE_RETURN_IF_ERROR(
      CheckCount("bad_words", "token sequences", p.bad_words.size(), limits.max_bad_words));
  for (const std::vector<TokenId>& word : p.bad_words) {
    if (word.empty()) {
      return InvalidField("bad_words", " holds an empty one; each must have a token");
    }
    QUIRE_RETURN_IF_ERROR(CheckIds("bad_words", word, limits.max_bad_word_tokens, vocab));
  }
  return absl::OkStatus();
}

absl::Status ValidateReports(const SamplingParams& p, const SamplingLimits& limits) {
  const std::string range = absl::StrCat("from 0 to ", limits.max_top_logprobs);
  if (p.top_logprobs < 0 || p.top_logprobs > limits.max_top_logprobs) {
    return OutOfRange("top_logprobs", p.top_logprobs, range);
  }
  if (p.prompt_logprobs < -1 || p.prompt_logprobs > limits.max_top_logprobs) {
    return OutOfRange("prompt_logprobs", p.prompt_logprobs, range);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateSamplingParams(const SamplingParams& params, const SamplingLimits& limits,
                                    int32_t vocab_size) {
  QUIRE_RETURN_IF_ERROR(ValidateNumbers(params));
  QUIRE_RETURN_IF_ERROR(ValidateLengths(params));
  QUIRE_RETURN_IF_ERROR(ValidateStops(params, limits, vocab_size));
  QUIRE_RETURN_IF_ERROR(ValidateTokenRules(params, limits, vocab_size));
  return ValidateReports(params, limits);
}

uint64_t SeedOfAnswer(uint64_t seed, int32_t index) {
  if (index == 0) return seed;
  // The finaliser of SplitMix64 (Steele et al., 2014), a permutation: no two indices share a seed.
  uint64_t x = static_cast<uint64_t>(index) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return seed ^ (x ^ (x >> 31));
}

}  // namespace quire
