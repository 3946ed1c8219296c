#include "server/rpc/live_call.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/call_identity.h"

namespace quire::server {
namespace {

// The call's deadline on our clock; gRPC has it on the wall clock.
TimePoint ClientDeadline(const grpc::CallbackServerContext& context, TimePoint now) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return kNoDeadline;
  const auto left = deadline - std::chrono::system_clock::now();
  // Beyond ten years the sum might overflow, and nobody will see the difference.
  if (left > std::chrono::hours(24 * 3650)) return kNoDeadline;
  return now + std::chrono::duration_cast<Duration>(left);
}

std::vector<RequestId> TakeIds(Engine& engine, int32_t count) {
  std::vector<RequestId> ids;
  ids.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) ids.push_back(engine.NextRequestId());
  return ids;
}

CallOrigin OriginOf(const Caller& caller, const grpc::CallbackServerContext& context) {
  return {.tenant = caller.tenant_name, .key_id = caller.key_id, .trace_id = FindTraceId(context)};
}

}  // namespace

absl::StatusOr<Caller> AdmitCall(const CallServices& services,
                                 const grpc::CallbackServerContext& context) {
  absl::StatusOr<Caller> caller = FindCaller(*services.tenants, context);
  if (caller.ok()) return caller;
  ++services.counters->rejected_unauthenticated;
  services.log->Unauthenticated({.admin = false,
                                 .peer = context.peer(),
                                 .trace_id = FindTraceId(context),
                                 .status = caller.status()});
  return caller;
}

absl::StatusOr<GenerateCall> DecodeCall(const CallServices& services, const Caller& caller,
                                        const grpc::CallbackServerContext& context,
                                        TimePoint arrival, const v1::GenerateRequest& message,
                                        TimePoint deadline) {
  absl::StatusOr<GenerateCall> call = services.codec->DecodeGenerate(
      message, caller, arrival, std::min(deadline, ClientDeadline(context, arrival)));
  if (call.ok()) {
    call->origin = OriginOf(caller, context);
  } else {
    const bool named = services.codec->CheckRequestId(message).ok();
    NoteInvalid(services, caller, context, arrival, named ? message.request_id() : "",
                call.status());
  }
  return call;
}

void NoteInvalid(const CallServices& services, const Caller& caller,
                 const grpc::CallbackServerContext& context, TimePoint arrival,
                 const std::string& request_id, const absl::Status& status) {
  ++services.counters->rejected_invalid;
  services.log->Ended({.service = services.service,
                       .request_id = request_id,
                       .origin = OriginOf(caller, context),
                       .status = status,
                       .total_time = services.clock->Now() - arrival});
}

LiveCall::LiveCall(const CallServices& services, StreamWriter* writer, TimePoint arrival,
                   const OutputShape& shape)
    : services_(services),
      arrival_(arrival),
      ids_(TakeIds(services.model->engine(), shape.answers)),
      stream_(std::make_shared<OutputStream>(writer, services.stream_limits, shape)) {}

absl::Status LiveCall::Submit(const GenerateCall& call) {
  name_ = call.name.empty() ? absl::StrCat("req-", ids_[0].value()) : call.name;
  origin_ = call.origin;
  prompt_tokens_ = static_cast<int32_t>(call.request.prompt.size());
  if (absl::Status status = services_.streams->Add(stream_, call.request.tenant); !status.ok()) {
    ++services_.counters->rejected_streams;
    return status;
  }
  Register(call);
  absl::Status status = services_.model->engine().Submit(call.MakeRequests(ids_));
  if (status.ok()) return status;
  for (RequestId id : ids_) services_.dispatcher->Unregister(id);
  return status;
}

void LiveCall::Register(const GenerateCall& call) {
  const SamplingParams& sampling = call.request.sampling;
  const Tokenizer& tokenizer = sampling.skip_special_tokens
                                   ? services_.model->tokenizer()
                                   : services_.model->special_text_tokenizer();
  const bool begins_text = std::all_of(call.request.prompt.begin(), call.request.prompt.end(),
                                       [&](TokenId id) { return tokenizer.IsSpecial(id); });
  for (size_t i = 0; i < ids_.size(); ++i) {
    OutputFormat format{.index = static_cast<int32_t>(i),
                        .logprobs = sampling.logprobs,
                        .begins_text = begins_text,
                        .echo = {}};
    if (call.echo && i == 0) {
      format.echo.text = tokenizer.Decode(call.request.prompt, sampling.skip_special_tokens);
      format.echo.tokens = call.request.prompt;
    }
    services_.dispatcher->Register(ids_[i], stream_, tokenizer, std::move(format));
  }
}

void LiveCall::Cancel(CancelCause cause) {
  if (cause == CancelCause::kSlowReader) ++services_.counters->slow_readers;
  for (RequestId id : ids_) services_.model->engine().Cancel(id);
}

void LiveCall::SetPaused(bool paused) {
  for (RequestId id : ids_) services_.model->engine().SetPaused(id, paused);
}

void LiveCall::End() {
  const StreamEnd end = stream_->Detach();
  services_.streams->Remove(stream_);
  if (!name_.empty()) LogEnd(end);
}

void LiveCall::LogEnd(const StreamEnd& end) const {
  RequestRecord record{.service = services_.service,
                       .request_id = name_,
                       .origin = origin_,
                       .status = end.status,
                       .prompt_tokens = prompt_tokens_,
                       .generated_tokens = static_cast<int32_t>(end.tokens),
                       .total_time = age()};
  if (end.totals.has_value()) {
    record.cached_tokens = end.totals->cached_tokens;
    record.generated_tokens = end.totals->generated_tokens;
    record.queue_time = end.totals->queue_time;
    if (end.totals->generated_tokens > 0) {
      record.time_to_first_token = end.totals->time_to_first_token;
    }
  }
  services_.log->Ended(record);
}

}  // namespace quire::server
