#include "core/engine/engine_loop.h"

#include <utility>

#include "absl/time/time.h"

namespace quire {

EngineLoop::EngineLoop(Engine* engine, std::function<void()> on_device_failure)
    : engine_(engine), on_device_failure_(std::move(on_device_failure)) {
  absl::MutexLock drain_lock(&drain_mu_);
  thread_ = std::thread([this] { Run(); });
}

EngineLoop::~EngineLoop() { Drain(Duration::zero()); }

void EngineLoop::Run() {
  bool reported = false;
  while (true) {
    const bool worked = engine_->Step();
    if (engine_->failed() && !std::exchange(reported, true) && on_device_failure_) {
      on_device_failure_();
    }
    bool idle = false;
    {
      absl::MutexLock lock(&mu_);
      idle = idle_ = engine_->live_requests() == 0;
      if (idle && stop_) return;
    }
    if (!worked && idle) engine_->WaitForWork();
  }
}

void EngineLoop::Drain(Duration grace) {
  absl::MutexLock drain_lock(&drain_mu_);
  if (!thread_.joinable()) return;
  engine_->StopAccepting();
  {
    absl::MutexLock lock(&mu_);
    idle_ = false;  // what was seen before the engine stopped accepting does not count
    engine_->Wake();
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return idle_ || hurry_; };
    mu_.AwaitWithTimeout(absl::Condition(&done), absl::FromChrono(grace));
    if (!idle_) engine_->AbortAll();
    stop_ = true;
  }
  engine_->Wake();
  thread_.join();
}

void EngineLoop::EndGrace() {
  absl::MutexLock lock(&mu_);
  hurry_ = true;
}

}  // namespace quire
