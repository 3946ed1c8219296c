#include "server/rpc/request_codec.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "server/rpc/id_fields.h"

namespace quire::server {
namespace {

constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();

// The server's limit, and a tenant's where it has one.
int32_t Tighter(int32_t limit, int32_t of_tenant) {
  return of_tenant > 0 ? std::min(limit, of_tenant) : limit;
}

absl::Status TooLong(absl::string_view message) {
  return Refuse(absl::StatusCode::kInvalidArgument, message, {.reason = "TOO_LONG"});
}

}  // namespace

RequestCodec::RequestCodec(const ModelConfig* model, const Tokenizer* tokenizer,
                           int32_t max_context_tokens, const RequestLimits& limits, ChatFormat chat)
    : model_(model),
      tokenizer_(tokenizer),
      max_context_tokens_(max_context_tokens),
      limits_(limits),
      sampling_(model, tokenizer, limits),
      chat_(std::move(chat)) {}

std::vector<Request> GenerateCall::MakeRequests(std::span<const RequestId> ids) const {
  std::vector<Request> requests(ids.size(), request);
  for (size_t i = 0; i < ids.size(); ++i) {
    requests[i].id = ids[i];
    requests[i].sampling.seed = SeedOfAnswer(request.sampling.seed, static_cast<int32_t>(i));
    if (i > 0) requests[i].sampling.prompt_logprobs = -1;  // they share the prompt
  }
  return requests;
}

absl::StatusOr<GenerateCall> RequestCodec::DecodeGenerate(const v1::GenerateRequest& message,
                                                          const Caller& caller, TimePoint arrival,
                                                          TimePoint client_deadline) const {
  QUIRE_RETURN_IF_ERROR(CheckModel(message.model()));
  QUIRE_RETURN_IF_ERROR(CheckRequestId(message));
  GenerateCall call;
  call.name = message.request_id();
  if (message.has_n()) {
    QUIRE_ASSIGN_OR_RETURN(call.answers, DecodeCount("n", message.n(), 1, limits_.max_answers));
  }
  if (message.has_message_interval()) {
    QUIRE_ASSIGN_OR_RETURN(call.message_interval,
                           DecodeCount("message_interval", message.message_interval(), 1, kMaxInt));
  }
  call.echo = message.echo();
  QUIRE_RETURN_IF_ERROR(CheckCacheSalt(message));
  Request& request = call.request;
  request.tenant = caller.tenant;
  request.priority = static_cast<int32_t>(std::min<uint32_t>(message.priority(), kMaxInt));
  request.cache_salt = message.cache_salt();
  QUIRE_ASSIGN_OR_RETURN(request.prompt, DecodePrompt(message));
  QUIRE_ASSIGN_OR_RETURN(const int32_t max_tokens,
                         DecodeMaxTokens(message, caller, request.prompt.size()));
  QUIRE_ASSIGN_OR_RETURN(request.sampling, sampling_.Decode(message, max_tokens));
  request.arrival = arrival;
  request.deadline = ChooseDeadline(arrival, client_deadline);
  return call;
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
    return InvalidField("token_ids",
                        absl::StrCat(" has ", message.token_ids_size(), " ids; at most ",
                                     max_context_tokens_, " (the context) are allowed"));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                         DecodeIds("token_ids", message.token_ids(), model_->vocab_size));
  const bool skip = !message.has_skip_special_tokens() || message.skip_special_tokens();
  return tokenizer_->Decode(ids, skip);
}

absl::Status RequestCodec::CheckModel(const std::string& name) const {
  if (name.empty() || name == model_->name) return absl::OkStatus();
  return Refuse(absl::StatusCode::kNotFound,
                absl::StrCat("model ", Quoted(name), " is not loaded; this server has ",
                             Quoted(model_->name)),
                {.reason = "MODEL_NOT_FOUND"});
}

absl::Status RequestCodec::CheckRequestId(const v1::GenerateRequest& message) const {
  if (!message.has_request_id()) return absl::OkStatus();
  const std::string& id = message.request_id();
  const bool printable = std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isprint(static_cast<unsigned char>(c));
  });
  if (!id.empty() && id.size() <= limits_.request_id_bytes && printable) return absl::OkStatus();
  return InvalidField("request_id",
                      absl::StrCat(" is ", Quoted(id), " (", id.size(), " bytes); it must be 1 to ",
                                   limits_.request_id_bytes, " printable ASCII characters"));
}

absl::Status RequestCodec::CheckCacheSalt(const v1::GenerateRequest& message) const {
  if (message.cache_salt().size() <= limits_.cache_salt_bytes) return absl::OkStatus();
  return InvalidField("cache_salt",
                      absl::StrCat(" has ", message.cache_salt().size(), " bytes; at most ",
                                   limits_.cache_salt_bytes, " are allowed"));
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
    case v1::GenerateRequest::kChat: {
      QUIRE_ASSIGN_OR_RETURN(prompt,
                             DecodeChat(message.chat(), chat_, *tokenizer_, limits_.prompt_bytes));
      break;
    }
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return InvalidField("prompt", " is missing; set text, token_ids or chat");
  }
  if (prompt.empty()) {
    return InvalidField("prompt", " is empty; it must have at least one token");
  }
  return TruncatePrompt(message, std::move(prompt));
}

absl::StatusOr<std::vector<TokenId>> RequestCodec::TruncatePrompt(
    const v1::GenerateRequest& message, std::vector<TokenId> prompt) const {
  if (!message.has_truncate_prompt_tokens()) return prompt;
  QUIRE_ASSIGN_OR_RETURN(
      const int32_t keep,
      DecodeCount("truncate_prompt_tokens", message.truncate_prompt_tokens(), 1, kMaxInt));
  const auto kept = std::min(static_cast<size_t>(keep), prompt.size());
  prompt.erase(prompt.begin(), prompt.end() - static_cast<int64_t>(kept));
  return prompt;
}

absl::StatusOr<std::vector<TokenId>> RequestCodec::EncodeText(
    const std::string& text, const Tokenizer::EncodeOptions& options) const {
  if (text.size() > limits_.prompt_bytes) {
    return InvalidField("text",
                        absl::StrCat(" has ", text.size(), " bytes; at most ", limits_.prompt_bytes,
                                     " are allowed (--max-prompt-bytes)"));
  }
  QUIRE_ASSIGN_OR_RETURN(std::vector<TokenId> ids, tokenizer_->Encode(text, options));
  for (TokenId id : ids) {
    // A tokenizer.json may know more tokens than the model's embedding has rows.
    if (id < 0 || id >= model_->vocab_size) {
      return InvalidField("text", absl::StrCat(" holds the token ", id,
                                               ", which this model does not have; its ids run "
                                               "from 0 to ",
                                               model_->vocab_size - 1));
    }
  }
  return ids;
}

absl::StatusOr<int32_t> RequestCodec::DecodeMaxTokens(const v1::GenerateRequest& message,
                                                      const Caller& caller,
                                                      size_t prompt_tokens) const {
  const int64_t context = Tighter(max_context_tokens_, caller.max_context_tokens);
  const char* const whose = context < max_context_tokens_ ? "this tenant's" : "the";
  const int64_t room = context - static_cast<int64_t>(prompt_tokens);
  if (room < 1) {
    return TooLong(absl::StrCat("prompt has ", prompt_tokens, " tokens; ", whose, " context of ",
                                context, " leaves no room for an answer"));
  }
  const int64_t limit =
      Tighter(limits_.max_tokens > 0 ? limits_.max_tokens : kMaxInt, caller.max_output_tokens);
  if (!message.has_max_tokens()) {
    return static_cast<int32_t>(std::min({room, limit, int64_t{limits_.default_max_tokens}}));
  }
  const int64_t wanted = message.max_tokens();
  if (wanted < 1 || wanted > limit) {
    return InvalidField("max_tokens",
                        absl::StrCat(" is ", wanted, "; it must be from 1 to ", limit,
                                     limit == caller.max_output_tokens ? " for this tenant" : ""));
  }
  if (wanted > room) {
    return TooLong(absl::StrCat("max_tokens is ", wanted, "; after a prompt of ", prompt_tokens,
                                " tokens ", whose, " context of ", context, " has room for ",
                                room));
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
