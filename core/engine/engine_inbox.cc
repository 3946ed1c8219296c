#include "core/engine/engine_inbox.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire {

absl::Status EngineInbox::Submit(std::vector<Request> requests, std::atomic<int64_t>* live) {
  const auto count = static_cast<int64_t>(requests.size());
  int64_t tokens = 0;
  for (const Request& request : requests) tokens += static_cast<int64_t>(request.prompt.size());
  MutexLock lock(&mu_);
  if (!closed_reason_.empty()) {
    rejections_.draining += requests.size();
    return absl::UnavailableError(closed_reason_);
  }
  if (queued_requests_ + count > options_.max_queued_requests ||
      (queued_requests_ > 0 && queued_tokens_ + tokens > options_.max_queued_tokens)) {
    rejections_.queue_full += requests.size();
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", queued_requests_,
                                                     " requests with ", queued_tokens_,
                                                     " prompt tokens wait; try again later"));
  }
  if (live != nullptr) live->fetch_add(count, std::memory_order_acq_rel);
  queued_requests_ += count;
  queued_tokens_ += tokens;
  std::move(requests.begin(), requests.end(), std::back_inserter(messages_.submits));
  return absl::OkStatus();
}

void EngineInbox::Cancel(RequestId id) {
  MutexLock lock(&mu_);
  if (cancelled_.insert(id).second) messages_.cancels.push_back(id);
}

void EngineInbox::AbortAll() {
  MutexLock lock(&mu_);
  messages_.abort_all = true;
}

void EngineInbox::SetTenants(TenantTable tenants) {
  MutexLock lock(&mu_);
  messages_.tenants = std::move(tenants);
}

void EngineInbox::Close(absl::string_view reason) {
  MutexLock lock(&mu_);
  if (closed_reason_.empty()) closed_reason_ = std::string(reason);
}

void EngineInbox::CountTooLong() {
  MutexLock lock(&mu_);
  ++rejections_.too_long;
}

EngineInbox::Messages EngineInbox::Take() {
  MutexLock lock(&mu_);
  cancelled_.clear();
  return std::exchange(messages_, Messages{});
}

void EngineInbox::OnLeftQueue(int64_t prompt_tokens) {
  MutexLock lock(&mu_);
  --queued_requests_;
  queued_tokens_ -= prompt_tokens;
}

void EngineInbox::Wait() {
  MutexLock lock(&mu_);
  mu_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !messages_.empty() || wake_; });
  wake_ = false;
}

void EngineInbox::Wake() {
  MutexLock lock(&mu_);
  wake_ = true;
}

EngineInbox::Rejections EngineInbox::rejections() const {
  MutexLock lock(&mu_);
  return rejections_;
}

}  // namespace quire
