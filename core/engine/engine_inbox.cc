#include "core/engine/engine_inbox.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"

namespace quire {

EngineInbox::EngineInbox(const EngineOptions& options) : options_(options), accounts_(1) {}

absl::Status EngineInbox::Submit(std::vector<Request> requests, std::atomic<int64_t>* live) {
  if (requests.empty()) return absl::OkStatus();
  Queued more;
  for (const Request& request : requests) {
    QUIRE_CHECK(request.tenant == requests[0].tenant) << "requests of several tenants";
    more.Add(1, static_cast<int64_t>(request.prompt.size()));
  }
  MutexLock lock(&mu_);
  Account& account = accounts_.at(requests[0].tenant.value());
  if (!closed_.ok()) {
    account.rejections.draining += requests.size();
    return closed_;
  }
  for (Queued* queued : {&queued_, &account.queued}) queued->Advance(requests[0].arrival);
  QUIRE_RETURN_IF_ERROR(CheckRoom(requests[0], more, &account));
  if (live != nullptr) live->fetch_add(more.requests, std::memory_order_acq_rel);
  queued_.Add(more.requests, more.tokens);
  account.queued.Add(more.requests, more.tokens);
  std::move(requests.begin(), requests.end(), std::back_inserter(messages_.submits));
  return absl::OkStatus();
}

// A single request with more tokens than may wait gets in where nothing else does.
absl::Status EngineInbox::CheckRoom(const Request& request, const Queued& more, Account* account) {
  const auto is_full = [&more](const Queued& queued, int64_t max_requests, int64_t max_tokens) {
    return (max_requests > 0 && queued.requests + more.requests > max_requests) ||
           (max_tokens > 0 && queued.requests > 0 && queued.tokens + more.tokens > max_tokens);
  };
  const auto count = static_cast<uint64_t>(more.requests);
  const TenantPolicy& policy = account->policy;
  if (policy.max_queued > 0 && more.requests > policy.max_queued) {  // nor ever will there be room
    account->rejections.too_long += count;
    return Refuse(absl::StatusCode::kInvalidArgument,
                  absl::StrCat(more.requests, " answers at once are more than the ",
                               policy.max_queued, " requests that the tenant may have waiting"),
                  {.reason = "TOO_MANY_ANSWERS"});
  }
  if (is_full(account->queued, policy.max_queued, policy.max_queued_tokens)) {
    account->rejections.tenant_queue_full += count;
    return Refuse(absl::StatusCode::kResourceExhausted,
                  absl::StrCat("the tenant's queue is full: ", account->queued.requests,
                               " of its requests with ", account->queued.tokens,
                               " prompt tokens wait; try again later"),
                  {.reason = "TENANT_QUEUE_FULL", .retry_after = account->queued.RetryAfter()});
  }
  if (is_full(queued_, options_.max_queued_requests, options_.max_queued_tokens)) {
    account->rejections.queue_full += count;
    return Refuse(absl::StatusCode::kResourceExhausted,
                  absl::StrCat("the queue is full: ", queued_.requests, " requests with ",
                               queued_.tokens, " prompt tokens wait; try again later"),
                  {.reason = "QUEUE_FULL", .retry_after = queued_.RetryAfter()});
  }
  const bool may_pass_others = std::min(request.priority, policy.max_priority) > 0;
  const Queued& queued = account->queued;
  if (request.deadline == kNoDeadline || may_pass_others ||
      queued.requests == queued.aside_requests) {
    return absl::OkStatus();
  }
  const std::optional<Duration> wait = queued.forecast.TimeFor(queued.MovingTokens() + more.tokens);
  if (!wait.has_value() || *wait <= request.deadline - request.arrival) return absl::OkStatus();
  account->rejections.deadline += count;
  return Refuse(absl::StatusCode::kResourceExhausted,
                absl::StrCat("the deadline cannot be met: the queue takes about ", ToSeconds(*wait),
                             " s; give it more time, or try again later"),
                {.reason = "DEADLINE_UNREACHABLE", .retry_after = queued.RetryAfter()});
}

void EngineInbox::Cancel(RequestId id) {
  MutexLock lock(&mu_);
  if (cancelled_.insert(id).second) messages_.cancels.push_back(id);
}

void EngineInbox::SetPaused(RequestId id, bool paused) {
  MutexLock lock(&mu_);
  messages_.pauses[id] = paused;
}

void EngineInbox::AbortAll() {
  MutexLock lock(&mu_);
  messages_.abort_all = true;
}

absl::Status EngineInbox::SetTenants(TenantTable tenants) {
  MutexLock lock(&mu_);
  if (tenants.size() < accounts_.size()) {
    return absl::InvalidArgumentError("a tenant keeps its place as long as the process lives");
  }
  accounts_.resize(tenants.size());
  floor_bytes_ = 0;
  for (size_t i = 0; i < tenants.size(); ++i) {
    accounts_[i].policy = tenants[i];
    floor_bytes_ += tenants[i].prefix_floor_bytes;
  }
  messages_.tenants = std::move(tenants);
  return absl::OkStatus();
}

absl::Status EngineInbox::FlushPrefixes(std::optional<TenantId> tenant) {
  MutexLock lock(&mu_);
  if (tenant.has_value()) QUIRE_RETURN_IF_ERROR(CheckExists(*tenant));
  std::vector<std::optional<TenantId>>& flushes = messages_.flushes;
  if (std::find(flushes.begin(), flushes.end(), tenant) == flushes.end()) flushes.push_back(tenant);
  return absl::OkStatus();
}

absl::Status EngineInbox::CheckExists(TenantId tenant) const {
  if (tenant.value() < accounts_.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("there is no tenant ", tenant.value()));
}

void EngineInbox::CheckInvariants(CheckDone done) {
  {
    MutexLock lock(&mu_);
    if (!ended_) {
      messages_.checks.push_back(std::move(done));
      return;
    }
  }
  done(absl::UnavailableError("the engine has ended"));
}

void EngineInbox::End() {
  std::vector<CheckDone> checks;
  {
    MutexLock lock(&mu_);
    ended_ = true;
    checks = std::exchange(messages_.checks, {});
  }
  for (const CheckDone& done : checks) done(absl::UnavailableError("the engine has ended"));
}

absl::StatusOr<int64_t> EngineInbox::KvLimit(TenantId tenant, int64_t kv_bytes) const {
  MutexLock lock(&mu_);
  QUIRE_RETURN_IF_ERROR(CheckExists(tenant));
  const int64_t limit = accounts_[tenant.value()].policy.kv_limit_bytes;
  const int64_t left = kv_bytes - floor_bytes_;
  return limit > 0 ? std::min(limit, left) : left;
}

void EngineInbox::Close(absl::string_view message, absl::string_view reason) {
  MutexLock lock(&mu_);
  if (closed_.ok()) {
    closed_ = Refuse(absl::StatusCode::kUnavailable, message, {.reason = std::string(reason)});
  }
}

bool EngineInbox::closed() const {
  MutexLock lock(&mu_);
  return !closed_.ok();
}

void EngineInbox::CountTooLong(TenantId tenant, uint64_t requests) {
  MutexLock lock(&mu_);
  accounts_.at(tenant.value()).rejections.too_long += requests;
}

EngineInbox::Messages EngineInbox::Take(TimePoint now) {
  MutexLock lock(&mu_);
  now_ = now;
  cancelled_.clear();
  return std::exchange(messages_, Messages{});
}

void EngineInbox::OnLeftQueue(const Request& request, bool started) {
  MutexLock lock(&mu_);
  const auto tokens = static_cast<int64_t>(request.prompt.size());
  for (Queued* queued : {&queued_, &accounts_.at(request.tenant.value()).queued}) {
    queued->Advance(now_);
    if (started) queued->forecast.OnStarted(tokens);
    queued->Add(-1, -tokens);
  }
}

void EngineInbox::OnPreempted(const Request& request) {
  MutexLock lock(&mu_);
  for (Queued* queued : {&queued_, &accounts_.at(request.tenant.value()).queued}) {
    queued->Advance(now_);
    queued->Add(1, static_cast<int64_t>(request.prompt.size()));
  }
}

void EngineInbox::OnSetAside(const Request& request, bool aside) {
  MutexLock lock(&mu_);
  const int64_t sign = aside ? 1 : -1;
  for (Queued* queued : {&queued_, &accounts_.at(request.tenant.value()).queued}) {
    queued->Advance(now_);
    queued->aside_requests += sign;
    queued->aside_tokens += sign * static_cast<int64_t>(request.prompt.size());
  }
}

int64_t EngineInbox::NumTaken() const {
  MutexLock lock(&mu_);
  return queued_.requests - static_cast<int64_t>(messages_.submits.size());
}

void EngineInbox::Wait(Duration at_most) {
  MutexLock lock(&mu_);
  mu_.AwaitFor(at_most,
               [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !messages_.empty() || wake_; });
  wake_ = false;
}

void EngineInbox::Wake() {
  MutexLock lock(&mu_);
  wake_ = true;
}

EngineInbox::Rejections EngineInbox::rejections() const {
  MutexLock lock(&mu_);
  Rejections sum;
  for (const Account& account : accounts_) {
    sum.queue_full += account.rejections.queue_full;
    sum.tenant_queue_full += account.rejections.tenant_queue_full;
    sum.deadline += account.rejections.deadline;
    sum.draining += account.rejections.draining;
    sum.too_long += account.rejections.too_long;
  }
  return sum;
}

std::vector<uint64_t> EngineInbox::RejectedByTenant() const {
  MutexLock lock(&mu_);
  std::vector<uint64_t> rejected;
  rejected.reserve(accounts_.size());
  for (const Account& account : accounts_) rejected.push_back(account.rejections.Sum());
  return rejected;
}

}  // namespace quire
