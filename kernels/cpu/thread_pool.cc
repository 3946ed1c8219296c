#include "kernels/cpu/thread_pool.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <ctime>

#include "kernels/api/types.h"

namespace quire::kernels {
namespace {

constexpr uint32_t kInsideMask = 0x7fff;
constexpr uint32_t kOpen = 0x8000;
constexpr uint32_t kLoopStep = 0x10000;

// Longer than the gaps between the operations of a step, much shorter than a scheduler tick.
constexpr auto kSpinTime = std::chrono::microseconds(50);
constexpr int kPausesPerClockRead = 32;

using Clock = std::chrono::steady_clock;
constexpr auto kNever = Clock::time_point::max();

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `done`, at most kSpinTime. True when it is done.
template <typename Done>
bool SpinUntil(Done done) {
  const auto give_up = Clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (Clock::now() < give_up);
  return done();
}

// For how long another thread had this one's core while this one was ready to run. 0 where none had
// it: no break can prevent what a hypervisor takes.
class StallMeter {
 public:
  void Restart() { *this = StallMeter(); }

  Clock::duration Stalled() const {
    const StallMeter now;
    if (now.preemptions_ == preemptions_) return Clock::duration::zero();
    return now.wall_ - wall_ - (now.cpu_ - cpu_);
  }

 private:
  // Not getrusage's, which lags behind by up to a tick.
  static Clock::duration CpuTime() {
    timespec time = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  }
  static int64_t Preemptions() {
    rusage usage = {};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
  }

  Clock::time_point wall_ = Clock::now();
  Clock::duration cpu_ = CpuTime();
  int64_t preemptions_ = Preemptions();
};

}  // namespace

ThreadPool::ThreadPool(int threads) {
  KERNELS_CHECK(threads >= 1 && threads <= static_cast<int>(kInsideMask));
  cores_ = std::vector<Core>(static_cast<size_t>(threads));
  threads_.reserve(static_cast<size_t>(threads) - 1);
  try {
    for (int worker = 1; worker < threads; ++worker) {
      threads_.emplace_back([this, worker] { WorkerMain(worker); });
    }
  } catch (...) {
    StopAll();
    throw;
  }
}

ThreadPool::~ThreadPool() { StopAll(); }

void ThreadPool::StopAll() {
  {
    const std::scoped_lock lock(break_mutex_);
    stopping_.store(true, std::memory_order_relaxed);
  }
  stop_.notify_all();
  state_.fetch_add(kLoopStep, std::memory_order_release);
  state_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadPool::Run(int64_t items, ItemFn fn, const void* context) {
  if (threads_.empty() || items <= 1) {
    for (int64_t item = 0; item < items; ++item) fn(context, item, 0);
    return;
  }
  NoteCore(0);
  fn_ = fn;
  context_ = context;
  items_ = items;
  next_item_.store(0, std::memory_order_relaxed);
  // Closed and empty since the last loop ended: nobody else changes the word now.
  const uint32_t loop = state_.load(std::memory_order_relaxed) & ~(kInsideMask | kOpen);
  state_.store((loop + kLoopStep) | kOpen, std::memory_order_release);
  state_.notify_all();

  TakeItems(0, kNever);

  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  const auto empty = [this] { return (state_.load(std::memory_order_acquire) & kInsideMask) == 0; };
  if (SpinUntil(empty)) return;
  for (uint32_t seen = state_.load(std::memory_order_acquire); (seen & kInsideMask) != 0;
       seen = state_.load(std::memory_order_acquire)) {
    state_.wait(seen, std::memory_order_acquire);
  }
}

// Until none is left, or `end` has come. True in the latter case.
bool ThreadPool::TakeItems(int worker, Clock::time_point end) {
  while (end == kNever || Clock::now() < end) {
    const int64_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
    if (item >= items_) return false;
    fn_(context_, item, worker);
  }
  return true;
}

bool ThreadPool::TryJoin(uint32_t seen) {
  while ((seen & kOpen) != 0) {
    if (state_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

// Returns the word as this worker left it.
uint32_t ThreadPool::Leave() {
  const uint32_t left = state_.fetch_sub(1, std::memory_order_release) - 1;
  if ((left & (kInsideMask | kOpen)) == 0) state_.notify_all();
  return left;
}

// Sets `*value` to the word once it differs from that by more than the number of workers inside.
// True when it slept until then.
bool ThreadPool::WaitForChange(uint32_t* value) const {
  const uint32_t old = *value;
  const auto changed = [&] {
    *value = state_.load(std::memory_order_acquire);
    return ((*value ^ old) & ~kInsideMask) != 0;
  };
  if (SpinUntil(changed)) return false;
  while (!changed()) state_.wait(*value, std::memory_order_acquire);
  return true;
}

void ThreadPool::NoteCore(int worker) {
  std::atomic<int>& number = cores_[static_cast<size_t>(worker)].number;
  const int core = sched_getcpu();
  if (number.load(std::memory_order_relaxed) != core) {
    number.store(core, std::memory_order_relaxed);
  }
}

// Where another process takes a core, the system tends to leave that one to it and puts two workers
// on one core: moves this one to a core without any.
void ThreadPool::LeaveSharedCore(int worker) {
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof(all), &all) != 0) return;
  cpu_set_t free = all;
  for (size_t other = 0; other < cores_.size(); ++other) {
    const int core = cores_[other].number.load(std::memory_order_relaxed);
    if (other != static_cast<size_t>(worker) && core >= 0) CPU_CLR(core, &free);
  }
  if (CPU_COUNT(&free) == 0 || CPU_ISSET(sched_getcpu(), &free)) return;
  sched_setaffinity(0, sizeof(free), &free);
  sched_setaffinity(0, sizeof(all), &all);
}

void ThreadPool::TakeBreak(Clock::duration time) {
  std::unique_lock lock(break_mutex_);
  stop_.wait_for(lock, time, [this] { return stopping_.load(std::memory_order_relaxed); });
}

void ThreadPool::WorkerMain(int worker) {
  uint32_t state = 0;
  StallBackoff backoff;
  StallMeter meter;
  Clock::time_point running_since = Clock::now();
  while (true) {
    if (WaitForChange(&state)) {
      meter.Restart();
      running_since = Clock::now();
    }
    bool more = true;
    while (more) {
      if (stopping_.load(std::memory_order_relaxed)) return;
      if (!TryJoin(state)) break;
      NoteCore(worker);
      const Clock::time_point joined = Clock::now();
      more = TakeItems(worker, backoff.active() ? running_since + StallBackoff::kRun : kNever);
      state = Leave();
      const Clock::time_point left = Clock::now();
      // Most loops are shorter: the meter makes system calls.
      if (left - joined >= StallBackoff::kStall) {
        if (std::min(meter.Stalled(), left - joined) >= StallBackoff::kStall) {
          backoff.Stalled(left);
          running_since = left;
        }
        meter.Restart();
      }
      if (backoff.active() && left - running_since >= StallBackoff::kRun) {
        LeaveSharedCore(worker);
        TakeBreak(backoff.NextBreak());
        meter.Restart();
        running_since = Clock::now();
        state = state_.load(std::memory_order_acquire);
        more = true;
      }
    }
  }
}

}  // namespace quire::kernels
