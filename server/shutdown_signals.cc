#include "server/shutdown_signals.h"

#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <utility>

#include "core/base/check.h"

namespace quire::server {
namespace {

// Wakes the waiting thread so that it can end.
constexpr int kWakeSignal = SIGUSR2;

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, kWakeSignal}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

ShutdownSignals::ShutdownSignals() {
  const sigset_t signals = WatchedSignals();
  const int error = pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  QUIRE_CHECK(error == 0) << "pthread_sigmask: error " << error;
  thread_ = std::thread([this] { Run(); });
}

ShutdownSignals::~ShutdownSignals() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  pthread_kill(thread_.native_handle(), kWakeSignal);
  thread_.join();
}

void ShutdownSignals::Arm(std::function<void()> hurry) {
  absl::MutexLock lock(&mu_);
  hurry_ = std::move(hurry);
}

void ShutdownSignals::Trigger(ShutdownReason reason) {
  absl::MutexLock lock(&mu_);
  if (!reason_.has_value()) reason_ = reason;
}

ShutdownReason ShutdownSignals::Await() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &ShutdownSignals::HasReason));
  return *reason_;
}

void ShutdownSignals::Run() {
  const sigset_t signals = WatchedSignals();
  while (true) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    {
      absl::MutexLock lock(&mu_);
      if (stopping_) return;
    }
    if (signal != kWakeSignal) OnSignal(signal);
  }
}

void ShutdownSignals::OnSignal(int signal) {
  std::function<void()> hurry;
  {
    absl::MutexLock lock(&mu_);
    if (!hurry_) std::_Exit(128 + signal);
    if (!reason_.has_value()) {
      reason_ = ShutdownReason::kSignal;
      return;
    }
    hurry = hurry_;
  }
  hurry();
}

}  // namespace quire::server
