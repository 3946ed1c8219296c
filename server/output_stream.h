#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/output_chunk.h"
#include "server/stream_limits.h"

namespace quire::server {

// Why a request is cancelled in the engine.
enum class CancelCause : uint8_t { kClientGone, kSlowReader, kAborted };

// One client's call, as an OutputStream drives it. Every method is called with the stream's lock
// held and never after OutputStream::Detach; none may block or call back into the stream.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;

  // Starts a write. OutputStream::WriteDone must follow, on another thread or later.
  virtual void StartWrite(OutputChunk chunk) = 0;
  // Exactly one of these two ends the call; nothing is started after it.
  virtual void StartWriteAndFinish(OutputChunk last, const absl::Status& status) = 0;
  virtual void Finish(const absl::Status& status) = 0;
  // Gives the call up: a write in flight fails soon.
  virtual void Abort() = 0;
  // Cancels the request in the engine. At most once.
  virtual void CancelRequest(CancelCause cause) = 0;
  // Asks the engine to compute no more of the request for now, or to go on.
  virtual void PauseRequest(bool paused) = 0;
};

// What a call's messages look like.
struct OutputShape {
  int32_t answers = 1;           // to the same prompt, told apart by their index
  int32_t message_interval = 1;  // tokens that a message of an unfinished answer has at least
  bool prompt_waits = false;     // what there is of the prompt comes with the first token
  bool whole_answers = false;    // each comes in one message, whatever its size
};

// How a call has ended.
struct StreamEnd {
  absl::Status status;
  int64_t tokens = 0;                  // of all answers, that were meant for the client
  std::optional<AnswerTotals> totals;  // unless the call ended before its answers
};

// The way of a call's answers from the output threads to one client: the state machine between the
// engine, which never waits, and a client, which may read slowly, go away or never come back.
//
//              Push                      WriteDone, nothing pending
//   kIdle ------------> kWriting       kWriting ------------> kIdle
//   kIdle ---- the end is known: last message and status, or status alone ----> kFinished
//
// Rules:
//  - One write is in flight at most. What comes meanwhile is gathered into the next message of its
//    answer; a message is written once it has message_interval tokens, a part of the prompt that
//    need not wait, or the answer's end, and when half the bound has gathered.
//  - The call ends with the last of its answers, with the status of the first that failed. The end
//    (of the answers, or of the client) waits for the write in flight, then goes out at once. In
//    kFinished every call but Abort and Detach does nothing: the status is given exactly once.
//  - Once limits.tokens have gathered for each answer that has not ended, the request is paused
//    until they are on their way: no token is computed for who does not read.
//  - What is gathered is bounded, but for whole answers, which max_tokens bounds, and for an echo,
//    which is the client's own; the scores of a prompt have a bound of their own, many times
//    limits.bytes. A piece beyond and all after it are dropped, the request is cancelled, and the
//    stream ends with RESOURCE_EXHAUSTED: the client has an intact beginning of the answer.
//  - A client that is gone gets CANCELLED at once; the engine's own last event then finds
//    kFinished.
//
// Ownership: shared by the call's reactor and the dispatcher, since either may be the last to let
// go: an event may come after the call's end. The writer must live until Detach.
// Thread-safe; one lock, held over calls of the writer.
class OutputStream {
 public:
  OutputStream(StreamWriter* writer, StreamLimits limits, OutputShape shape = {});
  OutputStream(const OutputStream&) = delete;
  OutputStream& operator=(const OutputStream&) = delete;

  // The next piece of an answer, the last one with `finish`. The end of all answers ends the call,
  // after a last message where there was one before, a token was generated or the status is OK.
  void Push(OutputChunk chunk);
  // Ends a call whose request the engine has not accepted.
  void Refuse(const absl::Status& status);
  // The write in flight has ended; not ok: the client is gone.
  void WriteDone(bool ok);
  // The client cancelled, disconnected or let its deadline pass.
  void ClientGone();
  // Ends the call by force, even where its client does not read.
  void Abort();
  // Aborts the call, and says so, where what is on its way to the client, the status too, was so
  // already at a call of this at least `timeout` ago. Called now and then: a write is as old as the
  // first call that finds it, so that writes need no clock.
  bool AbortIfStalled(TimePoint now, Duration timeout);
  // The call is over and the writer about to go.
  StreamEnd Detach();

 private:
  enum class State : uint8_t { kIdle, kWriting, kFinished };

  void GatherLocked(OutputChunk chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendLocked(OutputChunk chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the piece is more than may wait behind a write.
  bool IsTooMuchLocked(const OutputChunk& chunk) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether what follows the piece comes in a message of its own.
  bool IsFull(const OutputChunk& chunk) const;
  bool ReadyLocked(const OutputChunk& chunk) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the end is told in a last message, not in the status alone.
  bool HasLastMessageLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  OutputChunk TakeLocked(size_t place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AbortLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropClientLocked(CancelCause cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelLocked(CancelCause cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts what can be started now.
  void PumpLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Pauses the request or lets it go on, as what has gathered says.
  void ReviewPauseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const StreamLimits limits_;
  const OutputShape shape_;

  Mutex mu_;
  StreamWriter* writer_ ABSL_GUARDED_BY(mu_);  // null after Detach
  State state_ ABSL_GUARDED_BY(mu_) = State::kIdle;
  std::vector<OutputChunk> pending_ ABSL_GUARDED_BY(mu_);  // oldest first
  size_t pending_bytes_ ABSL_GUARDED_BY(mu_) = 0;          // of answers
  size_t pending_score_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t pending_tokens_ ABSL_GUARDED_BY(mu_) = 0;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<int64_t> gathered_tokens_ ABSL_GUARDED_BY(mu_);  // by answer, sent or pending
  AnswerTotals totals_ ABSL_GUARDED_BY(mu_);                   // of the answers that have ended
  int32_t ended_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status first_error_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);  // set once the end is known
  bool began_ ABSL_GUARDED_BY(mu_) = false;               // a message was sent or a token generated
  bool overflowed_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t writes_ ABSL_GUARDED_BY(mu_) = 0;  // begun, a status alone too
  uint64_t watched_write_ ABSL_GUARDED_BY(mu_) = 0;
  TimePoint watched_since_ ABSL_GUARDED_BY(mu_);
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace quire::server
