#include "server/rpc/request_codec.h"

#include <algorithm>
#include <limits>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/rpc/status_codec.h"

namespace quire::server {
namespace {

constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// Checks and converts ids; `field` is for the message.
absl::StatusOr<std::vector<TokenId>> DecodeIds(const char* field,
                                               const google::protobuf::RepeatedField<uint32_t>& ids,
                                               int32_t vocab_size) {
  std::vector<TokenId> result;
  result.reserve(static_cast<size_t>(ids.size()));
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] >= static_cast<uint32_t>(vocab_size)) {
      return absl::InvalidArgumentError(absl::StrCat(
          field, "[", i, "] is ", ids[i], "; ids of this model run from 0 to ", vocab_size - 1));
    }
    result.push_back(static_cast<TokenId>(ids[i]));
  }
  return result;
}

absl::Status CheckFits(const char* field, uint64_t value) {
  if (value <= static_cast<uint64_t>(kMaxInt)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, "; it must be at most ", kMaxInt));
}

}  // namespace

RequestCodec::RequestCodec(const ModelConfig* model, const Tokenizer* tokenizer,
                           int32_t max_context_tokens, const RequestLimits& limits)
    : model_(model),
      tokenizer_(tokenizer),
      max_context_tokens_(max_context_tokens),
      limits_(limits) {}

absl::StatusOr<Request> RequestCodec::DecodeGenerate(const v1::GenerateRequest& message,
                                                     TimePoint arrival,
                                                     TimePoint client_deadline) const {
  QUIRE_RETURN_IF_ERROR(CheckModel(message.model()));
  QUIRE_RETURN_IF_ERROR(CheckRequestId(message));
  Request request;
  QUIRE_ASSIGN_OR_RETURN(request.prompt, DecodePrompt(message));
  QUIRE_ASSIGN_OR_RETURN(request.sampling, DecodeSampling(message, request.prompt.size()));
  request.arrival = arrival;
  request.deadline = ChooseDeadline(arrival, client_deadline);
  return request;
}

absl::StatusOr<std::vector<TokenId>> RequestCodec::DecodeTokenize(
    const v1::TokenizeRequest& message) const {
  QUIRE_RETURN_IF_ERROR(CheckModel(message.model()));
  Tokenizer::EncodeOptions options;
  if (message.has_add_special_tokens()) options.add_special_tokens = message.add_special_tokens();
  if (message.has_parse_special_tokens()) options.parse_special = message.parse_special_tokens();
  return EncodeText(message.text(), options);
}

absl::StatusOr<std::string> RequestCodec::DecodeDetokenize(
    const v1::DetokenizeRequest& message) const {
  QUIRE_RETURN_IF_ERROR(CheckModel(message.model()));
  if (message.token_ids_size() > max_context_tokens_) {
    return absl::InvalidArgumentError(absl::StrCat("token_ids has ", message.token_ids_size(),
                                                   " ids; at most ", max_context_tokens_,
                                                   " (the context) are allowed"));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                         DecodeIds("token_ids", message.token_ids(), model_->vocab_size));
  const bool skip = !message.has_skip_special_tokens() || message.skip_special_tokens();
  return tokenizer_->Decode(ids, skip);
}

absl::Status RequestCodec::CheckModel(const std::string& name) const {
  if (name.empty() || name == model_->name) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(
      "model ", Quoted(name), " is not loaded; this server has ", Quoted(model_->name)));
}

absl::Status RequestCodec::CheckRequestId(const v1::GenerateRequest& message) const {
  if (!message.has_request_id()) return absl::OkStatus();
  const std::string& id = message.request_id();
  const bool printable = std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isprint(static_cast<unsigned char>(c));
  });
  if (!id.empty() && id.size() <= limits_.request_id_bytes && printable) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("request_id is ", Quoted(id), " (", id.size(), " bytes); it must be 1 to ",
                   limits_.request_id_bytes, " printable ASCII characters"));
}

absl::StatusOr<std::vector<TokenId>> RequestCodec::DecodePrompt(
    const v1::GenerateRequest& message) const {
  std::vector<TokenId> prompt;
  switch (message.prompt_case()) {
    case v1::GenerateRequest::kText: {
      Tokenizer::EncodeOptions options;
      if (message.has_add_special_tokens()) {
        options.add_special_tokens = message.add_special_tokens();
      }
      if (message.has_parse_special_tokens()) {
        options.parse_special = message.parse_special_tokens();
      }
      QUIRE_ASSIGN_OR_RETURN(prompt, EncodeText(message.text(), options));
      break;
    }
    case v1::GenerateRequest::kTokenIds: {
      QUIRE_ASSIGN_OR_RETURN(
          prompt, DecodeIds("token_ids.ids", message.token_ids().ids(), model_->vocab_size));
      break;
    }
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return absl::InvalidArgumentError("prompt is missing; set text or token_ids");
  }
  if (prompt.empty()) {
    return absl::InvalidArgumentError("prompt is empty; it must have at least one token");
  }
  return prompt;
}

absl::StatusOr<std::vector<TokenId>> RequestCodec::EncodeText(
    const std::string& text, const Tokenizer::EncodeOptions& options) const {
  if (text.size() > limits_.prompt_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("text has ", text.size(), " bytes; at most ",
                                                   limits_.prompt_bytes,
                                                   " are allowed (--max-prompt-bytes)"));
  }
  QUIRE_ASSIGN_OR_RETURN(std::vector<TokenId> ids, tokenizer_->Encode(text, options));
  for (TokenId id : ids) {
    // A tokenizer.json may know more tokens than the model's embedding has rows.
    if (id < 0 || id >= model_->vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("text holds the token ", id,
                                                     ", which this model does not have; its ids "
                                                     "run from 0 to ",
                                                     model_->vocab_size - 1));
    }
  }
  return ids;
}

absl::StatusOr<SamplingParams> RequestCodec::DecodeSampling(const v1::GenerateRequest& message,
                                                            size_t prompt_tokens) const {
  QUIRE_RETURN_IF_ERROR(CheckFits("top_k", message.top_k()));
  SamplingParams params;
  params.temperature =
      message.has_temperature() ? message.temperature() : model_->default_temperature;
  params.top_p = message.has_top_p() ? message.top_p() : model_->default_top_p;
  params.min_p = message.min_p();
  params.top_k =
      message.has_top_k() ? static_cast<int32_t>(message.top_k()) : model_->default_top_k;
  params.repetition_penalty = message.has_repetition_penalty() ? message.repetition_penalty()
                                                               : model_->default_repetition_penalty;
  params.seed = message.has_seed() ? message.seed() : RandomSeed();
  params.ignore_eos = message.ignore_eos();
  params.logprobs = message.logprobs();
  params.stop.assign(message.stop().begin(), message.stop().end());
  QUIRE_ASSIGN_OR_RETURN(params.stop_token_ids,
                         DecodeIds("stop_token_ids", message.stop_token_ids(), model_->vocab_size));
  QUIRE_ASSIGN_OR_RETURN(params.max_tokens, DecodeMaxTokens(message, prompt_tokens));
  QUIRE_RETURN_IF_ERROR(ValidateSamplingParams(params, limits_.sampling, model_->vocab_size));
  return params;
}

absl::StatusOr<int32_t> RequestCodec::DecodeMaxTokens(const v1::GenerateRequest& message,
                                                      size_t prompt_tokens) const {
  const int64_t room = max_context_tokens_ - static_cast<int64_t>(prompt_tokens);
  if (room < 1) {
    return absl::InvalidArgumentError(absl::StrCat("prompt has ", prompt_tokens,
                                                   " tokens; the context of ", max_context_tokens_,
                                                   " leaves no room for an answer"));
  }
  const int64_t limit = limits_.max_tokens > 0 ? limits_.max_tokens : kMaxInt;
  if (!message.has_max_tokens()) {
    return static_cast<int32_t>(std::min({room, limit, int64_t{limits_.default_max_tokens}}));
  }
  const int64_t wanted = message.max_tokens();
  if (wanted < 1 || wanted > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens is ", wanted, "; it must be from 1 to ", limit));
  }
  if (wanted > room) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens is ", wanted, "; after a prompt of ",
                                                   prompt_tokens, " tokens the context of ",
                                                   max_context_tokens_, " has room for ", room));
  }
  return static_cast<int32_t>(wanted);
}

TimePoint RequestCodec::ChooseDeadline(TimePoint arrival, TimePoint client_deadline) const {
  TimePoint deadline = client_deadline;
  if (deadline == kNoDeadline && limits_.default_deadline > Duration::zero()) {
    deadline = arrival + limits_.default_deadline;
  }
  if (limits_.max_deadline > Duration::zero()) {
    deadline = std::min(deadline, arrival + limits_.max_deadline);
  }
  return deadline;
}

}  // namespace quire::server
