#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"

namespace quire::server {

// What the main thread waits for while the server serves.
enum class ServerEvent {
  kReload,  // the configuration is to be read again
  kShutdown,
  kDeviceFailure,
};

// Waits for SIGINT, SIGTERM and, where asked to, SIGHUP on a thread of its own, so that no code
// runs in a signal handler. Make it before any other thread: threads inherit the blocked signals.
// One a process.
class ServerSignals {
 public:
  // `reloads`: SIGHUP is a kReload; else it does what the system has it do, end the process.
  explicit ServerSignals(bool reloads);
  // Stops waiting; the signals stay blocked.
  ~ServerSignals();

  // Until this is called a signal to end ends the process at once, since nothing is served yet.
  // From now on the first one is the end for Await, if none has come without a signal, and each
  // later one calls `hurry`, which must not wait.
  void Arm(std::function<void()> hurry);
  // Signals do nothing from now on, and `hurry` no longer runs when this returns.
  void Disarm() {
    Arm([] {});
  }
  // Ends the server, as a signal does: kShutdown or kDeviceFailure, the first one counts. Any
  // thread.
  void End(ServerEvent why);
  // Whether that has happened, by whatever way. Any thread.
  bool ending() const;
  // Waits for the next event. Several kReload that nobody has waited for are one, and none comes
  // once the server is to end.
  ServerEvent Await();

 private:
  void Run();
  void OnSignal(int signal);

  const bool reloads_;
  mutable Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool reload_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> hurry_ ABSL_GUARDED_BY(mu_);  // empty until armed
  bool signalled_ ABSL_GUARDED_BY(mu_) = false;       // a signal to end has come
  std::optional<ServerEvent> end_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quire::server
