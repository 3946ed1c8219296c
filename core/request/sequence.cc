#include "core/request/sequence.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace quire {

Sequence::Sequence(SequenceId id, Request request)
    : id_(id),
      request_(std::move(request)),
      prompt_tokens_(static_cast<int32_t>(request_.prompt.size())) {
  QUIRE_CHECK(prompt_tokens_ > 0 && request_.sampling.max_tokens > 0);
  // Room for everything it may generate: no allocation while it runs.
  tokens_.reserve(request_.prompt.size() + static_cast<size_t>(request_.sampling.max_tokens));
  tokens_ = request_.prompt;
}

int32_t Sequence::RunnableTokens() const {
  if (InPrefill()) return prompt_tokens_ - launched_;
  return generated_tokens() + pending_samples_ < request_.sampling.max_tokens ? 1 : 0;
}

int32_t Sequence::UnscoredTokens() const {
  return request_.sampling.prompt_logprobs < 0 ? 0 : std::max(0, prompt_tokens_ - 1 - launched_);
}

void Sequence::Start(TimePoint now, int32_t cached_tokens) {
  QUIRE_CHECK(status_ == RequestStatus::kWaiting);
  QUIRE_CHECK(cached_tokens >= 0 && cached_tokens < prompt_tokens_) << cached_tokens;
  status_ = RequestStatus::kRunning;
  started_at_ = now;
  launched_ = cached_tokens_ = cached_tokens;
}

void Sequence::OnLaunched(int32_t num_tokens, int32_t row) {
  QUIRE_CHECK(num_tokens >= 1 && num_tokens <= RunnableTokens()) << num_tokens;
  launched_ += num_tokens;
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
