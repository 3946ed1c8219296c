#include "server/live_streams.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"

namespace quire::server {
namespace {

// A guess: streams end when their clients have read them.
constexpr Duration kRetryAfter = std::chrono::seconds(1);

}  // namespace

absl::Status LiveStreams::Add(std::shared_ptr<OutputStream> stream) {
  MutexLock lock(&mu_);
  if (streams_.size() >= max_streams_) {
    return Refuse(absl::StatusCode::kResourceExhausted,
                  absl::StrCat("the server has ", streams_.size(),
                               " open streams, which is its limit; try again later"),
                  {.reason = "TOO_MANY_STREAMS", .retry_after = kRetryAfter});
  }
  streams_.insert(std::move(stream));
  return absl::OkStatus();
}

void LiveStreams::Remove(const std::shared_ptr<OutputStream>& stream) {
  MutexLock lock(&mu_);
  streams_.erase(stream);
}

size_t LiveStreams::size() const {
  MutexLock lock(&mu_);
  return streams_.size();
}

void LiveStreams::AbortAll() {
  std::vector<std::shared_ptr<OutputStream>> streams;
  {
    MutexLock lock(&mu_);
    streams.assign(streams_.begin(), streams_.end());
  }
  // Without the lock: a stream's own lock is never taken under this one.
  for (const auto& stream : streams) stream->Abort();
}

bool LiveStreams::AwaitEmpty(Duration timeout) {
  MutexLock lock(&mu_);
  return mu_.AwaitFor(timeout,
                      [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return streams_.empty(); });
}

}  // namespace quire::server
