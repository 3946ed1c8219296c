#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/model/model_config.h"
#include "core/request/request.h"
#include "core/text/tokenizer.h"
#include "quire/v1/inference.pb.h"
#include "server/auth/tenant_directory.h"
#include "server/log/request_log.h"
#include "server/request_limits.h"
#include "server/rpc/chat_codec.h"
#include "server/rpc/sampling_codec.h"

namespace quire::server {

// A Generate call as it was understood.
struct GenerateCall {
  std::string name;  // the caller's; may be empty
  Request request;   // of its first answer, without an id
  int32_t answers = 1;
  int32_t message_interval = 1;
  bool echo = false;
  CallOrigin origin = {};

  // One request an answer, with these ids.
  std::vector<Request> MakeRequests(std::span<const RequestId> ids) const;
};

// Turns messages from outside into core types: the one place where a request is judged and where
// its defaults are applied. Whatever comes out is safe to hand to the engine.
//
// Errors: InvalidArgument names the field, its value and what it must be; NotFound for a model
// that is not loaded. Cost: proportional to the prompt, whose length is bounded before it is
// tokenized. Immutable; any thread. `model` and `tokenizer` must outlive it.
class RequestCodec {
 public:
  RequestCodec(const ModelConfig* model, const Tokenizer* tokenizer, int32_t max_context_tokens,
               const RequestLimits& limits, ChatFormat chat = {});

  // `client_deadline` is the call's own, kNoDeadline without one.
  absl::StatusOr<GenerateCall> DecodeGenerate(const v1::GenerateRequest& message,
                                              const Caller& caller, TimePoint arrival,
                                              TimePoint client_deadline) const;

  absl::StatusOr<std::vector<TokenId>> DecodeTokenize(const v1::TokenizeRequest& message) const;
  // The text of the ids.
  absl::StatusOr<std::string> DecodeDetokenize(const v1::DetokenizeRequest& message) const;

  const ChatFormat& chat() const { return chat_; }

  absl::Status CheckRequestId(const v1::GenerateRequest& message) const;
  // OK for the loaded model's name and for none.
  absl::Status CheckModel(const std::string& name) const;

 private:
  absl::StatusOr<std::vector<TokenId>> DecodePrompt(const v1::GenerateRequest& message) const;
  absl::StatusOr<std::vector<TokenId>> TruncatePrompt(const v1::GenerateRequest& message,
                                                      std::vector<TokenId> prompt) const;
  absl::StatusOr<std::vector<TokenId>> EncodeText(const std::string& text,
                                                  const Tokenizer::EncodeOptions& options) const;
  absl::StatusOr<int32_t> DecodeMaxTokens(const v1::GenerateRequest& message, const Caller& caller,
                                          size_t prompt_tokens) const;
  absl::Status CheckCacheSalt(const v1::GenerateRequest& message) const;
  TimePoint ChooseDeadline(TimePoint arrival, TimePoint client_deadline) const;

  const ModelConfig* const model_;
  const Tokenizer* const tokenizer_;
  const int32_t max_context_tokens_;
  const RequestLimits limits_;
  const SamplingCodec sampling_;
  const ChatFormat chat_;
};

}  // namespace quire::server
