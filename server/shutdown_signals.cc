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
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  pthread_kill(thread_.native_handle(), kWakeSignal);
  thread_.join();
}

void ShutdownSignals::Arm(std::function<void()> hurry) {
  MutexLock lock(&mu_);
  hurry_ = std::move(hurry);
}

void ShutdownSignals::Trigger(ShutdownReason reason) {
  MutexLock lock(&mu_);
  if (!reason_.has_value()) reason_ = reason;
}

ShutdownReason ShutdownSignals::Await() {
  MutexLock lock(&mu_);
  mu_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return reason_.has_value(); });
  return *reason_;
}

void ShutdownSignals::Run() {
  const sigset_t signals = WatchedSignals();
  while (true) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    {
      MutexLock lock(&mu_);
      if (stopping_) return;
    }
    if (signal != kWakeSignal) OnSignal(signal);
  }
}

void ShutdownSignals::OnSignal(int signal) {
  MutexLock lock(&mu_);
  if (!hurry_) std::_Exit(128 + signal);
  if (reason_.has_value()) {
    hurry_();
  } else {
    reason_ = ShutdownReason::kSignal;
  }
}

}  // namespace quire::server
