#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"

namespace quire {

// A lock with conditions that clang's thread-safety analysis and ThreadSanitizer both follow.
// absl::Mutex is invisible to the latter where absl itself is not instrumented, as in Debian's
// packages, and every access under it looks like a race.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  // Lets whoever awaits a condition look again. While the lock is held, since whoever gets it next
  // may destroy it.
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    WakeOthers();
    mu_.unlock();
  }

  // Gives the lock up until `condition` holds. As with Unlock, whoever awaits something looks
  // again.
  template <typename Condition>
  void Await(Condition condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    std::unique_lock<std::mutex> lock(mu_, std::adopt_lock);
    WakeOthers();
    ++waiters_;
    changed_.wait(lock, condition);
    --waiters_;
    lock.release();
  }
  // As Await, for `timeout` at most (any value); returns whether the condition holds.
  template <typename Condition>
  bool AwaitFor(Duration timeout, Condition condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    std::unique_lock<std::mutex> lock(mu_, std::adopt_lock);
    WakeOthers();
    ++waiters_;
    const bool holds = changed_.wait_for(lock, std::min(timeout, kLongestWait), condition);
    --waiters_;
    lock.release();
    return holds;
  }

 private:
  // A century: added to the clock, the largest durations would overflow and end the wait at once.
  static constexpr Duration kLongestWait = std::chrono::hours(24 * 36500);

  void WakeOthers() {
    if (waiters_ > 0) changed_.notify_all();
  }

  std::mutex mu_;
  std::condition_variable changed_;
  int waiters_ = 0;  // under mu_
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_->Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mu_;
};

}  // namespace quire
