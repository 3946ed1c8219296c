#pragma once

#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <atomic>
#include <thread>

namespace quire::cli {

// While it lives, SIGINT and SIGTERM cancel the call instead of ending the process, so that the
// server frees what the call holds at once and the client still prints how it ended. Create it
// before the channel: threads made later inherit the blocked signals. At most one at a time.
class InterruptCanceller {
 public:
  explicit InterruptCanceller(grpc::ClientContext* context);
  ~InterruptCanceller();
  InterruptCanceller(const InterruptCanceller&) = delete;
  InterruptCanceller& operator=(const InterruptCanceller&) = delete;

  bool interrupted() const { return interrupted_.load(); }

 private:
  void WaitForSignal(grpc::ClientContext* context);

  sigset_t signals_;
  sigset_t previous_;
  std::atomic<bool> interrupted_{false};
  std::thread thread_;
};

}  // namespace quire::cli
