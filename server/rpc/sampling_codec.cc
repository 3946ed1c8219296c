#include "server/rpc/sampling_codec.h"

#include <algorithm>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "server/rpc/id_fields.h"

namespace quire::server {
namespace {

constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();

// A random device opened at each call took 3 % of the time of gRPC's threads where most calls are
// refused.
uint64_t RandomSeed() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return random();
}

}  // namespace

absl::StatusOr<SamplingParams> SamplingCodec::Decode(const v1::GenerateRequest& message,
                                                     int32_t max_tokens) const {
  SamplingParams params;
  params.max_tokens = max_tokens;
  QUIRE_RETURN_IF_ERROR(DecodeNumbers(message, &params));
  QUIRE_RETURN_IF_ERROR(DecodeTokenRules(message, &params));
  QUIRE_RETURN_IF_ERROR(DecodeReports(message, &params));
  QUIRE_RETURN_IF_ERROR(ValidateSamplingParams(params, limits_.sampling, model_->vocab_size));
  return params;
}

absl::Status SamplingCodec::DecodeNumbers(const v1::GenerateRequest& message,
                                          SamplingParams* params) const {
  params->temperature =
      message.has_temperature() ? message.temperature() : model_->default_temperature;
  params->top_p = message.has_top_p() ? message.top_p() : model_->default_top_p;
  params->min_p = message.min_p();
  params->top_k = model_->default_top_k;
  if (message.has_top_k()) {
    QUIRE_ASSIGN_OR_RETURN(params->top_k, DecodeCount("top_k", message.top_k(), 0, kMaxInt));
  }
  params->repetition_penalty = message.has_repetition_penalty()
                                   ? message.repetition_penalty()
                                   : model_->default_repetition_penalty;
  params->frequency_penalty = message.frequency_penalty();
  params->presence_penalty = message.presence_penalty();
  params->seed = message.has_seed() ? message.seed() : RandomSeed();
  QUIRE_ASSIGN_OR_RETURN(params->min_tokens,
                         DecodeCount("min_tokens", message.min_tokens(), 0, params->max_tokens));
  return absl::OkStatus();
}

absl::Status SamplingCodec::DecodeTokenRules(const v1::GenerateRequest& message,
                                             SamplingParams* params) const {
  const int32_t vocab = model_->vocab_size;
  params->ignore_eos = message.ignore_eos();
  params->stop.assign(message.stop().begin(), message.stop().end());
  params->include_stop = message.include_stop();
  params->skip_special_tokens = !message.has_skip_special_tokens() || message.skip_special_tokens();
  QUIRE_ASSIGN_OR_RETURN(params->stop_token_ids,
                         DecodeIds("stop_token_ids", message.stop_token_ids(), vocab));
  QUIRE_ASSIGN_OR_RETURN(params->allowed_token_ids,
                         DecodeIds("allowed_token_ids", message.allowed_token_ids(), vocab));
  for (const auto& [token, bias] : message.logit_bias()) {
    if (token >= static_cast<uint32_t>(vocab)) {
      return InvalidField(
          "logit_bias",
          absl::StrCat(" holds ", token, "; ids of this model run from 0 to ", vocab - 1));
    }
    params->logit_bias.push_back({static_cast<TokenId>(token), bias});
  }
  // A map has no order, and sums of floats depend on theirs.
  std::ranges::sort(params->logit_bias, {}, &LogitBias::token);
  return DecodeBadWords(message, params);
}

absl::Status SamplingCodec::DecodeReports(const v1::GenerateRequest& message,
                                          SamplingParams* params) const {
  const int32_t most = limits_.sampling.max_top_logprobs;
  params->logprobs = message.logprobs() || message.has_top_logprobs();
  QUIRE_ASSIGN_OR_RETURN(params->top_logprobs,
                         DecodeCount("top_logprobs", message.top_logprobs(), 0, most));
  if (!message.has_prompt_logprobs()) return absl::OkStatus();
  QUIRE_ASSIGN_OR_RETURN(params->prompt_logprobs,
                         DecodeCount("prompt_logprobs", message.prompt_logprobs(), 0, most));
  return absl::OkStatus();
}

absl::Status SamplingCodec::DecodeBadWords(const v1::GenerateRequest& message,
                                           SamplingParams* params) const {
  const int words = message.bad_words_size() + message.bad_word_ids_size();
  if (words > limits_.sampling.max_bad_words) {
    return InvalidField(
        "bad_words", absl::StrCat(" and bad_word_ids have ", words, " entries; at most ",
                                  limits_.sampling.max_bad_words, " token sequences are allowed"));
  }
  for (const std::string& word : message.bad_words()) {
    QUIRE_RETURN_IF_ERROR(AddBadWord(word, &params->bad_words));
  }
  for (int i = 0; i < message.bad_word_ids_size(); ++i) {
    QUIRE_ASSIGN_OR_RETURN(std::vector<TokenId> ids,
                           DecodeIds(absl::StrCat("bad_word_ids[", i, "].ids"),
                                     message.bad_word_ids(i).ids(), model_->vocab_size));
    params->bad_words.push_back(std::move(ids));
  }
  return absl::OkStatus();
}

absl::Status SamplingCodec::AddBadWord(const std::string& word,
                                       std::vector<std::vector<TokenId>>* sequences) const {
  const std::string bare = word.substr(std::min(word.find_first_not_of(' '), word.size()));
  if (bare.empty() || word.size() > static_cast<size_t>(limits_.bad_word_bytes)) {
    return InvalidField(
        "bad_words",
        absl::StrCat(" holds ", Quoted(word), " (", word.size(), " bytes); each must have 1 to ",
                     limits_.bad_word_bytes, " and be more than spaces"));
  }
  const Tokenizer::EncodeOptions options{.add_special_tokens = false, .parse_special = true};
  const size_t first = sequences->size();
  for (const std::string& spelling : {bare, " " + bare}) {
    absl::StatusOr<std::vector<TokenId>> ids = tokenizer_->Encode(spelling, options);
    if (!ids.ok()) {
      return InvalidField("bad_words", absl::StrCat(": ", ids.status().message()));
    }
    const bool known = std::find(sequences->begin() + static_cast<int64_t>(first), sequences->end(),
                                 *ids) != sequences->end();
    if (!known && !ids->empty()) sequences->push_back(*std::move(ids));
  }
  return absl::OkStatus();
}

}  // namespace quire::server
