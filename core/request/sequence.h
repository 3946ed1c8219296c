#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/request/request.h"
#include "core/request/request_status.h"

namespace quire {

// The engine's state of one stream of tokens. Three cursors over its positions:
//
//   tokens().size()  known: prompt, then every committed generated token
//   launched         KV found, or computed by steps that have been launched
//   pending_samples  tokens that launched steps will yield but that are not committed yet
//
// The next query token is at position `launched`; with launched == tokens().size() its id is still
// on the device and is fed back from `pending_row`. Engine thread only.
class Sequence {
 public:
  Sequence(SequenceId id, Request request);

  SequenceId id() const { return id_; }
  const Request& request() const { return request_; }
  RequestStatus status() const { return status_; }
  std::span<const TokenId> tokens() const { return tokens_; }
  int32_t prompt_tokens() const { return prompt_tokens_; }
  int32_t generated_tokens() const { return static_cast<int32_t>(tokens_.size()) - prompt_tokens_; }
  // The most positions whose KV it can ever need: the last generated token's KV is never read.
  int32_t max_kv_tokens() const { return prompt_tokens_ + request_.sampling.max_tokens - 1; }

  int32_t cached_tokens() const { return cached_tokens_; }
  int32_t launched() const { return launched_; }
  int32_t pending_samples() const { return pending_samples_; }
  int32_t pending_row() const { return pending_row_; }
  // Query tokens a next step could compute: the rest of the prefill, or one to decode, or none
  // when all the tokens it may generate are committed or on their way, or it is paused.
  int32_t RunnableTokens() const;
  // Tokens that were known when it was started: the prompt, after a preemption its answer as well.
  int32_t prefill_tokens() const { return prefill_tokens_; }
  bool InPrefill() const { return launched_ < prefill_tokens_; }
  // Of the next runnable tokens, how many tell how likely the one behind them is, and are asked for
  // it: the prompt's, but for its last and for what is reported already.
  int32_t UnscoredTokens() const;
  // How many of its first tokens may be taken from other sequences' KV: not those that are still
  // to be scored.
  int32_t ReusableTokens() const;
  // Of the next `num_tokens`, how many are the prompt's and neither computed nor found before.
  int32_t NewPromptTokens(int32_t num_tokens) const;

  // `cached_tokens`: of its beginning, whose KV was found.
  void Start(TimePoint now, int32_t cached_tokens);
  // Running -> waiting. Tokens that are on their way are dropped, to be drawn again.
  void Preempt(SequenceId new_id);
  // Running -> waiting, and its KV is kept elsewhere. Nothing is dropped: tokens that are on their
  // way will be committed. `tokens`: positions that it is to be promised KV for when it comes back.
  void SwapOut(int64_t tokens);
  // Waiting -> running, with the KV that was kept, once nothing is on its way.
  void SwapIn();
  // While it is swapped out: the positions that it is to be promised KV for. Else 0.
  int64_t swapped_tokens() const { return swapped_tokens_; }
  // A step with the next `num_tokens` positions was launched; `row` is its logit row or -1.
  void OnLaunched(int32_t num_tokens, int32_t row);
  // The prompt's tokens before position `end` are scored and reported.
  void CommitScores(int32_t end) { scored_ = end; }
  void CommitToken(TokenId token, TimePoint now);
  void Finish() { status_ = RequestStatus::kFinished; }

  // While its client has not taken what there is, it draws no more tokens; a prefill goes on.
  bool paused() const { return paused_; }
  void SetPaused(bool paused) { paused_ = paused; }
  int32_t preemptions() const { return preemptions_; }
  // Steps for which it has waited for another sequence to compute what it begins with.
  int64_t prefix_wait() const { return prefix_wait_; }
  void AddPrefixWait(int64_t steps) { prefix_wait_ += steps; }
  TimePoint started_at() const { return started_at_; }  // first
  TimePoint first_token_at() const { return first_token_at_; }
  TimePoint last_token_at() const { return last_token_at_; }

 private:
  SequenceId id_;
  const Request request_;
  const int32_t prompt_tokens_;
  std::vector<TokenId> tokens_;
  RequestStatus status_ = RequestStatus::kWaiting;
  int32_t prefill_tokens_;
  int32_t cached_tokens_ = 0;  // when it was started first
  int32_t launched_ = 0;
  int32_t most_launched_ = 0;  // ever
  int32_t scored_ = 0;
  bool paused_ = false;
  int32_t preemptions_ = 0;
  int64_t swapped_tokens_ = 0;
  int64_t prefix_wait_ = 0;
  int32_t pending_samples_ = 0;
  int32_t pending_row_ = -1;
  TimePoint started_at_{};
  TimePoint first_token_at_{};
  TimePoint last_token_at_{};
};

}  // namespace quire
