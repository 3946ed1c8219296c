#include "core/request/sequence.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace quire {

Sequence::Sequence(SequenceId id, Request request)
    : id_(id),
      request_(std::move(request)),
      prompt_tokens_(static_cast<int32_t>(request_.prompt.size())),
      prefill_tokens_(prompt_tokens_) {
  QUIRE_CHECK(prompt_tokens_ > 0 && request_.sampling.max_tokens > 0);
  // Room for everything it may generate: no allocation while it runs.
  tokens_.reserve(request_.prompt.size() + static_cast<size_t>(request_.sampling.max_tokens));
  tokens_ = request_.prompt;
}

int32_t Sequence::RunnableTokens() const {
  if (!InPrefill()) {
    return !paused_ && generated_tokens() + pending_samples_ < request_.sampling.max_tokens;
  }
  // A chunk is scored from its beginning or not at all.
  const bool scored_before = request_.sampling.prompt_logprobs >= 0 && launched_ < scored_;
  return (scored_before ? scored_ : prefill_tokens_) - launched_;
}

int32_t Sequence::UnscoredTokens() const {
  if (request_.sampling.prompt_logprobs < 0 || launched_ < scored_) return 0;
  return std::max(0, prompt_tokens_ - 1 - launched_);
}

int32_t Sequence::ReusableTokens() const {
  const bool scored = request_.sampling.prompt_logprobs < 0 || scored_ >= prompt_tokens_ - 1;
  return scored ? static_cast<int32_t>(tokens_.size()) : scored_;
}

int32_t Sequence::NewPromptTokens(int32_t num_tokens) const {
  const int32_t end = std::min(launched_ + num_tokens, prompt_tokens_);
  return std::max(0, end - std::max(launched_, most_launched_));
}

void Sequence::Start(TimePoint now, int32_t cached_tokens) {
  QUIRE_CHECK(status_ == RequestStatus::kWaiting && swapped_tokens_ == 0);
  QUIRE_CHECK(cached_tokens >= 0 && cached_tokens < prefill_tokens_) << cached_tokens;
  status_ = RequestStatus::kRunning;
  if (preemptions_ == 0) {
    started_at_ = now;
    cached_tokens_ = cached_tokens;
  }
  launched_ = cached_tokens;
  most_launched_ = std::max(most_launched_, launched_);
}

void Sequence::Preempt(SequenceId new_id) {
  QUIRE_CHECK(status_ == RequestStatus::kRunning);
  status_ = RequestStatus::kWaiting;
  id_ = new_id;
  ++preemptions_;
  prefill_tokens_ = static_cast<int32_t>(tokens_.size());
  launched_ = pending_samples_ = 0;
  pending_row_ = -1;
}

void Sequence::SwapOut(int64_t tokens) {
  QUIRE_CHECK(status_ == RequestStatus::kRunning && tokens >= launched_);
  status_ = RequestStatus::kWaiting;
  ++preemptions_;
  swapped_tokens_ = tokens;
}

void Sequence::SwapIn() {
  QUIRE_CHECK(status_ == RequestStatus::kWaiting && swapped_tokens_ > 0 && pending_samples_ == 0);
  status_ = RequestStatus::kRunning;
  swapped_tokens_ = 0;
  pending_row_ = -1;
}

void Sequence::OnLaunched(int32_t num_tokens, int32_t row) {
  QUIRE_CHECK(num_tokens >= 1 && num_tokens <= RunnableTokens()) << num_tokens;
  launched_ += num_tokens;
  most_launched_ = std::max(most_launched_, launched_);
  QUIRE_CHECK((row >= 0) == !InPrefill()) << "a step samples once the prompt is complete";
  if (row < 0) return;
  ++pending_samples_;
  pending_row_ = row;
}

void Sequence::CommitToken(TokenId token, TimePoint now) {
  QUIRE_CHECK(pending_samples_ > 0);
  --pending_samples_;
  if (generated_tokens() == 0) first_token_at_ = now;
  last_token_at_ = now;
  tokens_.push_back(token);
}

}  // namespace quire
