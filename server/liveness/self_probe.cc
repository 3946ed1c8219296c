#include "server/liveness/self_probe.h"

#include <utility>

namespace quire::server {

SelfProbe::SelfProbe(std::function<absl::Status()> probe, Duration interval)
    : probe_(std::move(probe)), interval_(interval), thread_([this] { Run(); }) {}

SelfProbe::~SelfProbe() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
  }
  thread_.join();
}

SelfProbe::Result SelfProbe::result() const {
  MutexLock lock(&mu_);
  return result_;
}

void SelfProbe::Run() {
  while (true) {
    {
      MutexLock lock(&mu_);
      if (mu_.AwaitFor(interval_, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stop_; })) {
        return;
      }
    }
    const absl::Status status = probe_();
    MutexLock lock(&mu_);
    result_.failed = status.ok() ? 0 : result_.failed + 1;
    result_.error = std::string(status.message());
  }
}

}  // namespace quire::server
