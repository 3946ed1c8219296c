#pragma once

#include <signal.h>

#include <atomic>
#include <functional>
#include <thread>

namespace quire::cli {

// While it lives, SIGINT and SIGTERM call `cancel` instead of ending the process, so that the
// server frees what calls hold at once and the client still prints how they ended. Create it before
// the channel: threads made later inherit the blocked signals. At most one at a time.
class InterruptCanceller {
 public:
  // `cancel` runs on a thread of its own and must not wait.
  explicit InterruptCanceller(std::function<void()> cancel);
  ~InterruptCanceller();
  InterruptCanceller(const InterruptCanceller&) = delete;
  InterruptCanceller& operator=(const InterruptCanceller&) = delete;

  bool interrupted() const { return interrupted_.load(); }

 private:
  void WaitForSignal();

  const std::function<void()> cancel_;
  sigset_t signals_;
  sigset_t previous_;
  std::atomic<bool> interrupted_{false};
  std::thread thread_;
};

}  // namespace quire::cli
