#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/live_call.h"
#include "server/rpc/status_codec.h"

namespace quire::server {

// Writes pieces of answers as a protocol's messages. One a call; called by one thread at a time.
template <typename Response>
class AnswerEncoder {
 public:
  // What a piece of an answer takes at most.
  using Messages = std::array<Response, 2>;

  virtual ~AnswerEncoder() = default;
  // Before the call is submitted.
  virtual void Begin(const LiveCall& /*call*/) {}
  // Overwrites the first messages and returns how many: 1 or 2.
  virtual size_t Encode(const OutputChunk& chunk, const LiveCall& call, Messages* messages) = 0;
};

// One call that is answered by a stream of Responses: glue between gRPC and an OutputStream, which
// has the states and the one lock. The reactor is gRPC's: created by Start, deleted by OnDone,
// which gRPC calls after the status is out and no other reaction runs. Between the two the stream's
// lock guards its members, and while a write is in flight that write.
//
//   handler          Start: -> LiveCall::Submit -> Engine::Submit, of all of its answers at once
//   output thread    OutputStream::Push -> StartWrite | StartWriteAndFinish | Finish
//   gRPC threads     OnWriteDone -> OutputStream::WriteDone -> the next write
//                    OnCancel -> OutputStream::ClientGone -> Engine::Cancel, CANCELLED
//                    OnDone -> LiveCall::End, then the stream takes events in vain
template <typename Response>
class AnswerReactor final : public grpc::ServerWriteReactor<Response>, private StreamWriter {
 public:
  using Encoder = AnswerEncoder<Response>;

  // Begins the call, or refuses what could not be decoded; `shape` is LiveCall's.
  static AnswerReactor* Start(const CallServices& services, grpc::CallbackServerContext* context,
                              TimePoint arrival, const absl::StatusOr<GenerateCall>& call,
                              const OutputShape& shape, std::unique_ptr<Encoder> encoder) {
    auto* const reactor = new AnswerReactor(services, context, arrival, shape, std::move(encoder));
    if (call.ok()) reactor->encoder_->Begin(reactor->call_);
    const absl::Status status = call.ok() ? reactor->call_.Submit(*call) : call.status();
    // gRPC deletes it after the status, which cannot be out before the handler has returned.
    if (!status.ok()) reactor->call_.stream()->Refuse(status);
    return reactor;
  }

 private:
  using Base = grpc::ServerWriteReactor<Response>;

  AnswerReactor(const CallServices& services, grpc::CallbackServerContext* context,
                TimePoint arrival, const OutputShape& shape, std::unique_ptr<Encoder> encoder)
      : context_(context), encoder_(std::move(encoder)), call_(services, this, arrival, shape) {}

  void OnWriteDone(bool ok) override {
    if (ok && next_ < count_) return WriteNext();
    // The end of the answer waited for its second message.
    if (end_.has_value()) return Base::Finish(grpc::Status::CANCELLED);
    call_.stream()->WriteDone(ok);
  }
  void OnCancel() override { call_.stream()->ClientGone(); }
  void OnDone() override {
    call_.End();
    delete this;
  }

  void StartWrite(OutputChunk chunk) override {
    Encode(chunk);
    WriteNext();
  }
  void StartWriteAndFinish(OutputChunk last, const absl::Status& status) override {
    Encode(last);
    end_ = status;
    WriteNext();
  }
  void Finish(const absl::Status& status) override {
    AddRetryPushback(status, context_);
    Base::Finish(ToGrpcStatus(status));
  }
  void Abort() override { context_->TryCancel(); }
  void CancelRequest(CancelCause cause) override { call_.Cancel(cause); }
  void PauseRequest(bool paused) override { call_.SetPaused(paused); }

  void Encode(const OutputChunk& chunk) {
    next_ = 0;
    count_ = encoder_->Encode(chunk, call_, &messages_);
  }
  void WriteNext() {
    const Response* const message = &messages_[next_++];
    if (next_ < count_ || !end_.has_value()) return Base::StartWrite(message);
    Base::StartWriteAndFinish(message, grpc::WriteOptions(), ToGrpcStatus(*end_));
  }

  grpc::CallbackServerContext* const context_;
  const std::unique_ptr<Encoder> encoder_;
  typename Encoder::Messages messages_;  // gRPC reads them until they are written
  size_t count_ = 0;                     // of the piece on its way
  size_t next_ = 0;                      // of those, the one to write next
  std::optional<absl::Status> end_;      // of the call, once its last piece is on its way
  LiveCall call_;
};

}  // namespace quire::server
