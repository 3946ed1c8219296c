#include "server/live_streams.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"

namespace quire::server {
namespace {

// A guess: streams end when their clients have read them.
constexpr Duration kRetryAfter = std::chrono::seconds(1);
// A tenant's streams, in terms of those that are free.
constexpr size_t kMostOfFree = 3;

}  // namespace

absl::Status LiveStreams::Add(std::shared_ptr<OutputStream> stream, TenantId tenant) {
  MutexLock lock(&mu_);
  const size_t free = max_streams_ - streams_.size();
  size_t& count = counts_[tenant];
  if (count < kMostOfFree * free) {
    ++count;
    streams_.emplace(std::move(stream), tenant);
    return absl::OkStatus();
  }
  const std::string what = free == 0
                               ? absl::StrCat("the server has ", streams_.size(), " open streams")
                               : absl::StrCat("the tenant has ", count,
                                              " open streams and the server ", streams_.size());
  if (count == 0) counts_.erase(tenant);
  return Refuse(absl::StatusCode::kResourceExhausted,
                absl::StrCat(what, ", which is the limit; try again later"),
                {.reason = "TOO_MANY_STREAMS", .retry_after = kRetryAfter});
}

void LiveStreams::Remove(const std::shared_ptr<OutputStream>& stream) {
  MutexLock lock(&mu_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  const auto count = counts_.find(found->second);
  if (--count->second == 0) counts_.erase(count);
  streams_.erase(found);
}

size_t LiveStreams::size() const {
  MutexLock lock(&mu_);
  return streams_.size();
}

// A stream's own lock is never taken under this one.
std::vector<std::shared_ptr<OutputStream>> LiveStreams::Snapshot() const {
  MutexLock lock(&mu_);
  std::vector<std::shared_ptr<OutputStream>> streams;
  streams.reserve(streams_.size());
  for (const auto& [stream, tenant] : streams_) streams.push_back(stream);
  return streams;
}

void LiveStreams::AbortAll() {
  for (const auto& stream : Snapshot()) stream->Abort();
}

int LiveStreams::AbortStalled(TimePoint now, Duration timeout) {
  int aborted = 0;
  for (const auto& stream : Snapshot()) aborted += stream->AbortIfStalled(now, timeout) ? 1 : 0;
  return aborted;
}

bool LiveStreams::AwaitEmpty(Duration timeout) {
  MutexLock lock(&mu_);
  return mu_.AwaitFor(timeout,
                      [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return streams_.empty(); });
}

}  // namespace quire::server
