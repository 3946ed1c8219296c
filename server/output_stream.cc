#include "server/output_stream.h"

#include <utility>

#include "core/base/check.h"

namespace quire::server {

void OutputChunk::Append(OutputChunk next) {
  if (empty()) {
    *this = std::move(next);
    return;
  }
  text += next.text;
  tokens.insert(tokens.end(), next.tokens.begin(), next.tokens.end());
  logprobs.insert(logprobs.end(), next.logprobs.begin(), next.logprobs.end());
  finish = std::move(next.finish);
}

OutputStream::OutputStream(StreamWriter* writer, size_t max_pending_bytes)
    : max_pending_bytes_(max_pending_bytes), writer_(writer) {}

void OutputStream::Push(OutputChunk chunk) {
  MutexLock lock(&mu_);
  if (state_ == State::kFinished || end_.has_value()) return;
  if (chunk.finish != nullptr) {
    end_ = overflowed_ ? absl::ResourceExhaustedError(
                             "the client reads too slowly: more of the answer was waiting than "
                             "the server's --max-stream-buffer allows")
                       : chunk.finish->status;
  }
  GatherLocked(std::move(chunk));
  PumpLocked();
}

void OutputStream::GatherLocked(OutputChunk chunk) {
  const bool too_much = state_ == State::kWriting && chunk.finish == nullptr &&
                        pending_.PayloadBytes() + chunk.PayloadBytes() > max_pending_bytes_;
  if (too_much && !overflowed_) {
    overflowed_ = true;
    CancelLocked(CancelCause::kSlowReader);
  }
  if (overflowed_) {
    if (chunk.finish == nullptr) return;
    OutputChunk end_only;
    end_only.finish = std::move(chunk.finish);
    chunk = std::move(end_only);
  }
  chunk.token_offset = gathered_tokens_;
  gathered_tokens_ += static_cast<int64_t>(chunk.tokens.size());
  pending_.Append(std::move(chunk));
}

void OutputStream::Refuse(const absl::Status& status) {
  QUIRE_CHECK(!status.ok()) << "a refusal needs a reason";
  MutexLock lock(&mu_);
  if (state_ == State::kFinished || end_.has_value()) return;
  cancelled_ = true;  // the engine does not know the request
  end_ = status;
  PumpLocked();
}

void OutputStream::WriteDone(bool ok) {
  MutexLock lock(&mu_);
  QUIRE_CHECK(state_ == State::kWriting) << "no write is in flight";
  state_ = State::kIdle;
  if (!ok) DropClientLocked(CancelCause::kClientGone);
  PumpLocked();
}

void OutputStream::ClientGone() {
  MutexLock lock(&mu_);
  if (state_ == State::kFinished) return;
  DropClientLocked(CancelCause::kClientGone);
  PumpLocked();
}

void OutputStream::Abort() {
  MutexLock lock(&mu_);
  if (writer_ == nullptr) return;
  if (state_ != State::kFinished) DropClientLocked(CancelCause::kAborted);
  // Also where the status is under way already: it may be stuck behind unread messages.
  writer_->Abort();
  PumpLocked();
}

void OutputStream::Detach() {
  MutexLock lock(&mu_);
  QUIRE_CHECK(state_ == State::kFinished) << "the call ended without a status";
  writer_ = nullptr;
}

void OutputStream::DropClientLocked(CancelCause cause) {
  if (!end_.has_value()) CancelLocked(cause);
  end_ = absl::CancelledError("the call was cancelled");
  pending_ = OutputChunk();
}

void OutputStream::CancelLocked(CancelCause cause) {
  if (cancelled_) return;
  cancelled_ = true;
  writer_->CancelRequest(cause);
}

void OutputStream::PumpLocked() {
  if (state_ != State::kIdle) return;
  if (end_.has_value()) {
    FinishLocked();
  } else if (!pending_.empty()) {
    state_ = State::kWriting;
    writer_->StartWrite(std::exchange(pending_, OutputChunk()));
  }
}

void OutputStream::FinishLocked() {
  state_ = State::kFinished;
  const bool began = gathered_tokens_ > 0;
  if (pending_.finish != nullptr && (began || end_->ok())) {
    writer_->StartWriteAndFinish(std::exchange(pending_, OutputChunk()), *end_);
  } else {
    writer_->Finish(*end_);
  }
}

}  // namespace quire::server
