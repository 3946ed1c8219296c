#include "server/output_stream.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/base/check.h"

namespace quire::server {
namespace {

// Scores of a prompt that may wait, in times of what may wait of its answer: they come as fast as a
// prompt is computed. 8 MiB where the answer has 256 KiB: of 51,000 tokens with 20 alternatives.
constexpr size_t kScoreFactor = 32;

}  // namespace

OutputStream::OutputStream(StreamWriter* writer, StreamLimits limits, OutputShape shape)
    : limits_(limits),
      shape_(shape),
      writer_(writer),
      gathered_tokens_(static_cast<size_t>(shape.answers)) {}

void OutputStream::Push(OutputChunk chunk) {
  MutexLock lock(&mu_);
  if (state_ == State::kFinished || end_.has_value()) return;
  if (chunk.finish != nullptr) {
    ++ended_;
    totals_.Add(*chunk.finish);
    first_error_.Update(chunk.finish->status);
  }
  GatherLocked(std::move(chunk));
  if (ended_ == shape_.answers) {
    end_ = overflowed_ ? absl::ResourceExhaustedError(
                             "the client reads too slowly: more of the answer was waiting than "
                             "the server's --max-stream-buffer allows")
                       : first_error_;
  }
  PumpLocked();
  ReviewPauseLocked();
}

void OutputStream::GatherLocked(OutputChunk chunk) {
  if (!overflowed_ && state_ == State::kWriting && IsTooMuchLocked(chunk)) {
    overflowed_ = true;
    CancelLocked(CancelCause::kSlowReader);
  }
  if (overflowed_) {
    if (chunk.finish == nullptr) return;
    OutputChunk end_only;
    end_only.index = chunk.index;
    end_only.finish = std::move(chunk.finish);
    // It may have come to its end before the cancel did, but not all of it is here.
    end_only.finish->reason = FinishReason::kCancelled;
    chunk = std::move(end_only);
  }
  AppendLocked(std::move(chunk));
}

bool OutputStream::IsTooMuchLocked(const OutputChunk& chunk) const {
  if (shape_.whole_answers || chunk.finish != nullptr) return false;
  const size_t answer = chunk.AnswerBytes();
  return (answer > 0 && pending_bytes_ + answer > limits_.bytes) ||
         pending_score_bytes_ + chunk.prompt.ScoreBytes() > kScoreFactor * limits_.bytes;
}

void OutputStream::AppendLocked(OutputChunk chunk) {
  int64_t& gathered = gathered_tokens_.at(static_cast<size_t>(chunk.index));
  chunk.token_offset = gathered;
  gathered += static_cast<int64_t>(chunk.tokens.size());
  began_ |= !chunk.tokens.empty();
  pending_bytes_ += chunk.AnswerBytes();
  pending_score_bytes_ += chunk.prompt.ScoreBytes();
  pending_tokens_ += static_cast<int64_t>(chunk.tokens.size());
  const auto last = std::find_if(pending_.rbegin(), pending_.rend(), [&](const OutputChunk& other) {
    return other.index == chunk.index;
  });
  if (last == pending_.rend() || IsFull(*last)) {
    pending_.push_back(std::move(chunk));
  } else {
    last->Append(std::move(chunk));
  }
}

// Scores of a long prompt are more than a client takes in one message.
bool OutputStream::IsFull(const OutputChunk& chunk) const {
  return !shape_.prompt_waits && !shape_.whole_answers && chunk.prompt.ScoreBytes() > limits_.bytes;
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
  ReviewPauseLocked();
}

void OutputStream::ClientGone() {
  MutexLock lock(&mu_);
  if (state_ == State::kFinished) return;
  DropClientLocked(CancelCause::kClientGone);
  PumpLocked();
}

void OutputStream::Abort() {
  MutexLock lock(&mu_);
  if (writer_ != nullptr) AbortLocked();
}

bool OutputStream::AbortIfStalled(TimePoint now, Duration timeout) {
  MutexLock lock(&mu_);
  if (writer_ == nullptr || state_ == State::kIdle || aborted_) return false;
  if (watched_write_ != writes_) {
    watched_write_ = writes_;
    watched_since_ = now;
  }
  if (now - watched_since_ < timeout) return false;
  AbortLocked();
  return true;
}

void OutputStream::AbortLocked() {
  aborted_ = true;
  if (state_ != State::kFinished) DropClientLocked(CancelCause::kAborted);
  // Also where the status is under way already: it may be stuck behind unread messages.
  writer_->Abort();
  PumpLocked();
}

StreamEnd OutputStream::Detach() {
  MutexLock lock(&mu_);
  QUIRE_CHECK(state_ == State::kFinished) << "the call ended without a status";
  writer_ = nullptr;
  StreamEnd end{.status = *end_, .totals = {}};
  end.tokens = std::accumulate(gathered_tokens_.begin(), gathered_tokens_.end(), int64_t{0});
  if (ended_ == shape_.answers) end.totals = totals_;
  return end;
}

void OutputStream::DropClientLocked(CancelCause cause) {
  if (!end_.has_value()) CancelLocked(cause);
  end_ = absl::CancelledError("the call was cancelled");
  pending_.clear();
  pending_bytes_ = pending_score_bytes_ = 0;
  pending_tokens_ = 0;
}

void OutputStream::CancelLocked(CancelCause cause) {
  if (cancelled_) return;
  cancelled_ = true;
  writer_->CancelRequest(cause);
}

bool OutputStream::ReadyLocked(const OutputChunk& chunk) const {
  // While nothing has begun a failure waits: where all answers fail, the status comes alone.
  const bool ended = chunk.finish != nullptr && (began_ || chunk.finish->status.ok());
  if (end_.has_value() || ended) return true;
  if (shape_.whole_answers) return false;
  if (shape_.prompt_waits && chunk.tokens.empty()) return false;
  return !chunk.prompt.empty() || (shape_.message_interval == 1 && chunk.finish == nullptr) ||
         chunk.tokens.size() >= static_cast<size_t>(shape_.message_interval) ||
         pending_bytes_ > limits_.bytes / 2;
}

bool OutputStream::HasLastMessageLocked() const {
  return !pending_.empty() && (began_ || end_->ok());
}

OutputChunk OutputStream::TakeLocked(size_t place) {
  OutputChunk chunk = std::move(pending_[place]);
  pending_.erase(pending_.begin() + static_cast<int64_t>(place));
  pending_bytes_ -= chunk.AnswerBytes();
  pending_score_bytes_ -= chunk.prompt.ScoreBytes();
  pending_tokens_ -= static_cast<int64_t>(chunk.tokens.size());
  return chunk;
}

void OutputStream::PumpLocked() {
  if (state_ != State::kIdle) return;
  if (end_.has_value() && (pending_.size() <= 1 || !HasLastMessageLocked())) return FinishLocked();
  const auto ready = std::ranges::find_if(
      pending_, [this](const OutputChunk& chunk)
                    ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ReadyLocked(chunk); });
  if (ready == pending_.end()) return;
  state_ = State::kWriting;
  ++writes_;
  began_ = true;
  writer_->StartWrite(TakeLocked(static_cast<size_t>(ready - pending_.begin())));
}

void OutputStream::ReviewPauseLocked() {
  // A cancelled request needs no word more, nor do answers that have all ended.
  if (limits_.tokens == 0 || cancelled_ || end_.has_value()) return;
  const int64_t most = int64_t{limits_.tokens} * (shape_.answers - ended_);
  const bool paused = state_ == State::kWriting && pending_tokens_ >= most;
  if (paused == paused_) return;
  paused_ = paused;
  writer_->PauseRequest(paused);
}

void OutputStream::FinishLocked() {
  state_ = State::kFinished;
  ++writes_;
  if (!HasLastMessageLocked()) return writer_->Finish(*end_);
  OutputChunk last = TakeLocked(0);
  last.totals = std::make_unique<AnswerTotals>(totals_);
  writer_->StartWriteAndFinish(std::move(last), *end_);
}

}  // namespace quire::server
