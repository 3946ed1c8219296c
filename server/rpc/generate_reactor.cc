#include "server/rpc/generate_reactor.h"

#include <grpcpp/server_context.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
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

}  // namespace

Base* GenerateReactor::Start(const GenerateServices& services, grpc::CallbackServerContext* context,
                             const v1::GenerateRequest& message) {
  auto* const reactor = new GenerateReactor(services, context);
  // gRPC deletes it after the status, which cannot be out before the handler has returned.
  if (absl::Status status = reactor->Submit(message); !status.ok()) {
    reactor->stream_->Refuse(status);
  }
  return reactor;
}

GenerateReactor::GenerateReactor(const GenerateServices& services,
                                 grpc::CallbackServerContext* context)
    : services_(services),
      context_(context),
      arrival_(services.clock->Now()),
      id_(services.model->engine().NextRequestId()),
      stream_(std::make_shared<OutputStream>(static_cast<StreamWriter*>(this),
                                             services.max_stream_buffer)) {}

absl::Status GenerateReactor::Submit(const v1::GenerateRequest& message) {
  absl::StatusOr<Request> request =
      services_.codec->DecodeGenerate(message, arrival_, ClientDeadline(context_, arrival_));
  if (!request.ok()) {
    ++services_.counters->rejected_invalid;
    return request.status();
  }
  request->id = id_;
  unsent_request_id_ =
      message.has_request_id() ? message.request_id() : absl::StrCat("req-", id_.value());
  if (absl::Status status = services_.streams->Add(stream_); !status.ok()) {
    ++services_.counters->rejected_streams;
    return status;
  }
  services_.dispatcher->Register(id_, stream_, services_.model->tokenizer(),
                                 request->sampling.logprobs);
  absl::Status status = services_.model->engine().Submit(*std::move(request));
  if (!status.ok()) services_.dispatcher->Unregister(id_);
  return status;
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

void GenerateReactor::Finish(const absl::Status& status) { Base::Finish(ToGrpcStatus(status)); }

void GenerateReactor::Abort() { context_->TryCancel(); }

void GenerateReactor::CancelRequest(CancelCause cause) {
  if (cause == CancelCause::kSlowReader) ++services_.counters->slow_readers;
  services_.model->engine().Cancel(id_);
}

void GenerateReactor::Encode(const OutputChunk& chunk) {
  EncodeChunk(chunk, services_.clock->Now() - arrival_, &response_);
  if (unsent_request_id_.empty()) return;
  response_.set_request_id(std::move(unsent_request_id_));
  unsent_request_id_.clear();
}

}  // namespace quire::server
