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
  // Query tokens a next step could compute: the rest of the prompt, or one to decode, or none
  // when all the tokens it may generate are committed or on their way.
  int32_t RunnableTokens() const;
  bool InPrefill() const { return launched_ < prompt_tokens_; }
  // Of the rest of the prompt, how many tokens tell how likely the one behind them is, and are
  // asked for it: all but the prompt's last.
  int32_t UnscoredTokens() const;

  // `cached_tokens`: of the prompt's beginning, whose KV was found.
  void Start(TimePoint now, int32_t cached_tokens);
  // A step with the next `num_tokens` positions was launched; `row` is its logit row or -1.
  void OnLaunched(int32_t num_tokens, int32_t row);
  void CommitToken(TokenId token, TimePoint now);
  void Finish() { status_ = RequestStatus::kFinished; }

  TimePoint started_at() const { return started_at_; }
  TimePoint first_token_at() const { return first_token_at_; }
  TimePoint last_token_at() const { return last_token_at_; }

 private:
  const SequenceId id_;
  const Request request_;
  const int32_t prompt_tokens_;
  std::vector<TokenId> tokens_;
  RequestStatus status_ = RequestStatus::kWaiting;
  int32_t cached_tokens_ = 0;
  int32_t launched_ = 0;
  int32_t pending_samples_ = 0;
  int32_t pending_row_ = -1;
  TimePoint started_at_{};
  TimePoint first_token_at_{};
  TimePoint last_token_at_{};
};

}  // namespace quire
