#include "core/engine/engine_loop.h"

#include <pthread.h>

#include <utility>

namespace quire {

EngineLoop::EngineLoop(Engine* engine, std::function<void()> on_device_failure)
    : engine_(engine), on_device_failure_(std::move(on_device_failure)) {
  MutexLock drain_lock(&drain_mu_);
  thread_ = std::thread([this] { Run(); });
}

EngineLoop::~EngineLoop() { Drain(Duration::zero()); }

void EngineLoop::Run() {
  pthread_setname_np(pthread_self(), "quire-engine");  // for top -H and debuggers
  bool reported = false;
  while (true) {
    const bool worked = engine_->Step();
    if (engine_->failed() && !std::exchange(reported, true) && on_device_failure_) {
      on_device_failure_();
    }
    bool idle = false;
    {
      MutexLock lock(&mu_);
      idle = idle_ = engine_->live_requests() == 0;
      if (idle && stop_) break;
    }
    if (!worked) engine_->WaitForWork();
  }
  engine_->End();
}

void EngineLoop::Drain(Duration grace) {
  MutexLock drain_lock(&drain_mu_);
  if (!thread_.joinable()) return;
  engine_->StopAccepting();
  {
    MutexLock lock(&mu_);
    idle_ = false;  // what was seen before the engine stopped accepting does not count
    engine_->Wake();
    mu_.AwaitFor(grace, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return idle_ || hurry_; });
    if (!idle_) engine_->AbortAll();
    stop_ = true;
  }
  engine_->Wake();
  thread_.join();
}

void EngineLoop::EndGrace() {
  MutexLock lock(&mu_);
  hurry_ = true;
}

}  // namespace quire
