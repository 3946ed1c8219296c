#include "server/server_signals.h"

#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <utility>

#include "core/base/check.h"

namespace quire::server {
namespace {

// Wakes the waiting thread so that it can end.
constexpr int kWakeSignal = SIGUSR2;

sigset_t WatchedSignals(bool reloads) {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, kWakeSignal}) sigaddset(&signals, signal);
  if (reloads) sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

ServerSignals::ServerSignals(bool reloads) : reloads_(reloads) {
  const sigset_t signals = WatchedSignals(reloads_);
  const int error = pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  QUIRE_CHECK(error == 0) << "pthread_sigmask: error " << error;
  thread_ = std::thread([this] { Run(); });
}

ServerSignals::~ServerSignals() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  pthread_kill(thread_.native_handle(), kWakeSignal);
  thread_.join();
}

void ServerSignals::Arm(std::function<void()> hurry) {
  MutexLock lock(&mu_);
  hurry_ = std::move(hurry);
}

void ServerSignals::End(ServerEvent why) {
  MutexLock lock(&mu_);
  if (!end_.has_value()) end_ = why;
}

bool ServerSignals::ending() const {
  MutexLock lock(&mu_);
  return end_.has_value();
}

ServerEvent ServerSignals::Await() {
  MutexLock lock(&mu_);
  mu_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return end_.has_value() || reload_; });
  if (end_.has_value()) return *end_;
  reload_ = false;
  return ServerEvent::kReload;
}

void ServerSignals::Run() {
  const sigset_t signals = WatchedSignals(reloads_);
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

void ServerSignals::OnSignal(int signal) {
  MutexLock lock(&mu_);
  if (signal == SIGHUP) {
    reload_ = true;
  } else if (!hurry_) {
    std::_Exit(128 + signal);
  } else if (std::exchange(signalled_, true)) {
    hurry_();
  } else if (!end_.has_value()) {
    end_ = ServerEvent::kShutdown;
  }
}

}  // namespace quire::server
