#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"

namespace quire::server {

enum class ShutdownReason { kSignal, kDeviceFailure };

// Waits for SIGINT and SIGTERM on a thread of its own, so that no code runs in a signal handler.
// Make it before any other thread: threads inherit the blocked signals. One a process.
class ShutdownSignals {
 public:
  ShutdownSignals();
  // Stops waiting; the signals stay blocked.
  ~ShutdownSignals();

  // Until this is called a signal ends the process at once, since nothing is served yet. From now
  // on the first one ends Await, and each later one calls `hurry`, which must not wait.
  void Arm(std::function<void()> hurry);
  // Signals do nothing from now on, and `hurry` no longer runs when this returns.
  void Disarm() {
    Arm([] {});
  }
  // Ends Await for another reason than a signal. Any thread.
  void Trigger(ShutdownReason reason);
  // Waits until the server is to end.
  ShutdownReason Await();

 private:
  void Run();
  void OnSignal(int signal);

  Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> hurry_ ABSL_GUARDED_BY(mu_);  // empty until armed
  std::optional<ShutdownReason> reason_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quire::server
