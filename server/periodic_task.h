#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace quire::server {

// Calls a function now and then, on a thread of its own.
class PeriodicTask {
 public:
  // First after `period`, then each time `period` after the last call has returned.
  PeriodicTask(Duration period, std::function<void()> task);
  // Waits for a call that is under way; there is none after it.
  ~PeriodicTask();
  PeriodicTask(const PeriodicTask&) = delete;
  PeriodicTask& operator=(const PeriodicTask&) = delete;

 private:
  void Run();
  // Waits for the next call; false: there is none.
  bool AwaitNext();

  const Duration period_;
  const std::function<void()> task_;
  Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quire::server
