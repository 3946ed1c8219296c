#include "server/rpc/generate_reactor.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/call_identity.h"
#include "server/rpc/response_codec.h"
#include "server/rpc/status_codec.h"

namespace quire::server {
namespace {

using Base = grpc::ServerWriteReactor<v1::GenerateResponse>;

// The call's deadline on our clock; gRPC has it on the wall clock.
TimePoint ClientDeadline(grpc::CallbackServerContext* context, TimePoint now) {
  const auto deadline = context->deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return kNoDeadline;
  const auto left = deadline - std::chrono::system_clock::now();
  // Beyond ten years the sum might overflow, and nobody will see the difference.
  if (left > std::chrono::hours(24 * 3650)) return kNoDeadline;
  return now + std::chrono::duration_cast<Duration>(left);
}

// Counts what is refused.
absl::StatusOr<GenerateCall> Decode(const GenerateServices& services,
                                    grpc::CallbackServerContext* context, TimePoint arrival,
                                    const v1::GenerateRequest& message) {
  const absl::StatusOr<Caller> caller = FindCaller(*services.tenants, *context);
  if (!caller.ok()) {
    ++services.counters->rejected_unauthenticated;
    return caller.status();
  }
  absl::StatusOr<GenerateCall> call =
      services.codec->DecodeGenerate(message, *caller, arrival, ClientDeadline(context, arrival));
  if (!call.ok()) ++services.counters->rejected_invalid;
  return call;
}

std::vector<RequestId> TakeIds(Engine& engine, int32_t count) {
  std::vector<RequestId> ids;
  ids.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) ids.push_back(engine.NextRequestId());
  return ids;
}

}  // namespace

Base* GenerateReactor::Start(const GenerateServices& services, grpc::CallbackServerContext* context,
                             const v1::GenerateRequest& message) {
  const TimePoint arrival = services.clock->Now();
  const absl::StatusOr<GenerateCall> call = Decode(services, context, arrival, message);
  OutputShape shape;
  if (call.ok()) shape = {.answers = call->answers, .message_interval = call->message_interval};
  auto* const reactor = new GenerateReactor(services, context, arrival, shape);
  absl::Status status = call.status();
  if (call.ok()) status = reactor->Submit(*call, message);
  // gRPC deletes it after the status, which cannot be out before the handler has returned.
  if (!status.ok()) reactor->stream_->Refuse(status);
  return reactor;
}

GenerateReactor::GenerateReactor(const GenerateServices& services,
                                 grpc::CallbackServerContext* context, TimePoint arrival,
                                 OutputShape shape)
    : services_(services),
      context_(context),
      arrival_(arrival),
      ids_(TakeIds(services.model->engine(), shape.answers)),
      stream_(std::make_shared<OutputStream>(static_cast<StreamWriter*>(this),
                                             services.max_stream_buffer, shape)) {}

absl::Status GenerateReactor::Submit(const GenerateCall& call, const v1::GenerateRequest& message) {
  unsent_request_id_ =
      message.has_request_id() ? message.request_id() : absl::StrCat("req-", ids_[0].value());
  if (absl::Status status = services_.streams->Add(stream_); !status.ok()) {
    ++services_.counters->rejected_streams;
    return status;
  }
  Register(call);
  absl::Status status = services_.model->engine().Submit(call.MakeRequests(ids_));
  if (status.ok()) return status;
  for (RequestId id : ids_) services_.dispatcher->Unregister(id);
  return status;
}

void GenerateReactor::Register(const GenerateCall& call) {
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

void GenerateReactor::OnWriteDone(bool ok) { stream_->WriteDone(ok); }

void GenerateReactor::OnCancel() { stream_->ClientGone(); }

void GenerateReactor::OnDone() {
  stream_->Detach();
  services_.streams->Remove(stream_);
  delete this;
}

void GenerateReactor::StartWrite(OutputChunk chunk) {
  Encode(chunk);
  Base::StartWrite(&response_);
}

void GenerateReactor::StartWriteAndFinish(OutputChunk last, const absl::Status& status) {
  Encode(last);
  Base::StartWriteAndFinish(&response_, grpc::WriteOptions(), ToGrpcStatus(status));
}

void GenerateReactor::Finish(const absl::Status& status) {
  if (const auto pushback = RetryPushback(status); pushback.has_value()) {
    context_->AddTrailingMetadata(kRetryPushbackKey, *pushback);
  }
  Base::Finish(ToGrpcStatus(status));
}

void GenerateReactor::Abort() { context_->TryCancel(); }

void GenerateReactor::CancelRequest(CancelCause cause) {
  if (cause == CancelCause::kSlowReader) ++services_.counters->slow_readers;
  for (RequestId id : ids_) services_.model->engine().Cancel(id);
}

void GenerateReactor::Encode(const OutputChunk& chunk) {
  EncodeChunk(chunk, services_.clock->Now() - arrival_, &response_);
  if (unsent_request_id_.empty()) return;
  response_.set_request_id(std::move(unsent_request_id_));
  unsent_request_id_.clear();
}

}  // namespace quire::server
