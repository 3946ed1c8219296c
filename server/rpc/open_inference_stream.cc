#include "server/rpc/open_inference_stream.h"

#include <grpcpp/server_context.h>

#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "server/rpc/open_inference_codec.h"
#include "server/rpc/status_codec.h"

namespace quire::server {

// One request of the stream and the writer of its answer. Lives until its last message is written.
class ModelInferStream::Inference final : private StreamWriter {
 public:
  Inference(ModelInferStream* parent, uint64_t id, TimePoint arrival,
            inference::ModelInferRequest request, const OutputShape& shape)
      : parent_(parent),
        id_(id),
        request_(std::move(request)),
        call_(parent->services_, this, arrival, shape) {}

  void Begin(const absl::StatusOr<GenerateCall>& call) {
    const absl::Status status = call.ok() ? call_.Submit(*call) : call.status();
    if (!status.ok()) call_.stream()->Refuse(status);
  }
  // Nobody waits for it any more.
  void GiveUp() {
    call_.stream()->ClientGone();
    call_.Cancel(CancelCause::kClientGone);
  }
  void End() { call_.End(); }

  uint64_t id() const { return id_; }
  OutputStream* stream() const { return call_.stream().get(); }

 private:
  void StartWrite(OutputChunk chunk) override { Send(chunk, /*last=*/false); }
  void StartWriteAndFinish(OutputChunk last, const absl::Status& status) override {
    Send(last, /*last=*/status.ok());
    if (!status.ok()) Finish(status);
  }
  void Finish(const absl::Status& status) override {
    Outgoing outgoing{.message = {}, .inference = id_, .last = true};
    outgoing.message.set_error_message(ToGrpcStatus(status).error_message());
    outgoing.message.mutable_infer_response()->set_id(request_.id());
    parent_->Enqueue(std::move(outgoing));
  }
  void Abort() override { parent_->Abort(); }
  void CancelRequest(CancelCause cause) override { call_.Cancel(cause); }
  void PauseRequest(bool paused) override { call_.SetPaused(paused); }

  void Send(const OutputChunk& chunk, bool last) {
    Outgoing outgoing{.message = {}, .inference = id_, .last = last};
    EncodeInfer(chunk, request_, parent_->services_.model->config().name,
                outgoing.message.mutable_infer_response());
    parent_->Enqueue(std::move(outgoing));
  }

  ModelInferStream* const parent_;
  const uint64_t id_;
  const inference::ModelInferRequest request_;
  LiveCall call_;
};

ModelInferStream::ModelInferStream(const CallServices& services,
                                   grpc::CallbackServerContext* context, size_t max_requests)
    : services_(services), context_(context), max_requests_(max_requests) {
  const absl::StatusOr<Caller> caller = AdmitCall(services_, *context);
  MutexLock lock(&mu_);
  if (caller.ok()) {
    ReadIfRoomLocked();
  } else {
    finished_ = true;
    Finish(ToGrpcStatus(caller.status()));
  }
}

absl::StatusOr<GenerateCall> ModelInferStream::Decode(TimePoint arrival, OutputShape* shape) {
  // Each time anew: a key may have been taken away since the call began.
  QUIRE_ASSIGN_OR_RETURN(const Caller caller, AdmitCall(services_, *context_));
  const absl::StatusOr<InferCall> infer = DecodeInfer(request_);
  if (!infer.ok()) {
    NoteInvalid(services_, caller, *context_, arrival, "", infer.status());
    return infer.status();
  }
  QUIRE_ASSIGN_OR_RETURN(
      GenerateCall call,
      DecodeCall(services_, caller, *context_, arrival, infer->request,
                 infer->timeout.has_value() ? arrival + *infer->timeout : kNoDeadline));
  shape->whole_answers = !infer->stream.value_or(true);
  shape->message_interval = call.message_interval;
  return call;
}

void ModelInferStream::OnReadDone(bool ok) {
  const TimePoint arrival = services_.clock->Now();
  if (!ok) {
    MutexLock lock(&mu_);
    reading_ = false;
    no_more_requests_ = true;
    return FinishIfDoneLocked();
  }
  OutputShape shape;
  const absl::StatusOr<GenerateCall> call = Decode(arrival, &shape);
  // Shared, as its last message may be written before Begin has returned.
  std::shared_ptr<Inference> inference;
  {
    MutexLock lock(&mu_);
    const uint64_t id = ++last_inference_;
    inference = std::make_shared<Inference>(this, id, arrival, std::move(request_), shape);
    inferences_.emplace(id, inference);
  }
  inference->Begin(call);
  bool cancelled = false;
  {
    MutexLock lock(&mu_);
    reading_ = false;
    cancelled = cancelled_;
    ReadIfRoomLocked();
  }
  // OnCancel may have missed it, or come before the engine knew it.
  if (cancelled) inference->GiveUp();
}

void ModelInferStream::OnWriteDone(bool ok) {
  bool last = false;
  std::shared_ptr<Inference> inference;
  {
    MutexLock lock(&mu_);
    last = outgoing_.front().last;
    inference = inferences_.at(outgoing_.front().inference);
    outgoing_.pop_front();
    writing_ = !outgoing_.empty();
    if (writing_) StartWrite(&outgoing_.front().message);
  }
  if (!last) return inference->stream()->WriteDone(ok);
  inference->End();
  MutexLock lock(&mu_);
  inferences_.erase(inference->id());
  ReadIfRoomLocked();
  FinishIfDoneLocked();
}

void ModelInferStream::OnCancel() {
  std::vector<std::shared_ptr<Inference>> inferences;
  {
    MutexLock lock(&mu_);
    cancelled_ = true;
    for (const auto& [id, inference] : inferences_) inferences.push_back(inference);
  }
  for (const auto& inference : inferences) inference->GiveUp();
}

void ModelInferStream::Abort() { context_->TryCancel(); }

void ModelInferStream::Enqueue(Outgoing outgoing) {
  MutexLock lock(&mu_);
  outgoing_.push_back(std::move(outgoing));
  if (writing_) return;
  writing_ = true;
  StartWrite(&outgoing_.front().message);
}

void ModelInferStream::ReadIfRoomLocked() {
  if (reading_ || no_more_requests_ || inferences_.size() >= max_requests_) return;
  reading_ = true;
  StartRead(&request_);
}

void ModelInferStream::FinishIfDoneLocked() {
  if (finished_ || reading_ || !no_more_requests_ || !inferences_.empty()) return;
  finished_ = true;
  Finish(cancelled_ ? grpc::Status::CANCELLED : grpc::Status::OK);
}

}  // namespace quire::server
