#include "server/cli/interrupt_canceller.h"

#include <pthread.h>

#include <utility>

namespace quire::cli {
namespace {

constexpr int kStopWaiting = SIGUSR1;  // sent by the destructor to its own thread

}  // namespace

InterruptCanceller::InterruptCanceller(std::function<void()> cancel) : cancel_(std::move(cancel)) {
  sigemptyset(&signals_);
  for (int signal : {SIGINT, SIGTERM, kStopWaiting}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
  thread_ = std::thread([this] { WaitForSignal(); });
}

InterruptCanceller::~InterruptCanceller() {
  pthread_kill(thread_.native_handle(), kStopWaiting);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

void InterruptCanceller::WaitForSignal() {
  int signal = 0;
  while (sigwait(&signals_, &signal) == 0 && signal != kStopWaiting) {
    interrupted_.store(true);
    cancel_();
  }
}

}  // namespace quire::cli
