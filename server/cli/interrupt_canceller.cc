#include "server/cli/interrupt_canceller.h"

#include <pthread.h>

namespace quire::cli {
namespace {

constexpr int kStopWaiting = SIGUSR1;  // sent by the destructor to its own thread

}  // namespace

InterruptCanceller::InterruptCanceller(grpc::ClientContext* context) {
  sigemptyset(&signals_);
  for (int signal : {SIGINT, SIGTERM, kStopWaiting}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
  thread_ = std::thread([this, context] { WaitForSignal(context); });
}

InterruptCanceller::~InterruptCanceller() {
  pthread_kill(thread_.native_handle(), kStopWaiting);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

void InterruptCanceller::WaitForSignal(grpc::ClientContext* context) {
  int signal = 0;
  while (sigwait(&signals_, &signal) == 0 && signal != kStopWaiting) {
    interrupted_.store(true);
    context->TryCancel();
  }
}

}  // namespace quire::cli
