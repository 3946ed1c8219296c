#include "kernels/cpu/thread_pool.h"

#include <sched.h>

#include "kernels/api/types.h"

namespace quire::kernels {
namespace {

constexpr uint32_t kInsideMask = 0x7fff;
constexpr uint32_t kOpen = 0x8000;
constexpr uint32_t kLoopStep = 0x10000;

// Longer than the gaps between the operations of a step, much shorter than a scheduler tick.
constexpr auto kSpinTime = std::chrono::microseconds(50);
constexpr int kPausesPerClockRead = 32;

// Less than the time slice of 1.4 ms that Linux 6.18 gives where there are two cores, for which
// alone this was measured. Much less leaves the neighbour more than its share: there who offers a
// core that is waited for has his slice counted as used up.
constexpr auto kOfferEvery = std::chrono::microseconds(1200);

using Clock = std::chrono::steady_clock;

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

}  // namespace

ThreadPool::ThreadPool(int threads) {
  KERNELS_CHECK(threads >= 1 && threads <= static_cast<int>(kInsideMask));
  workers_ = std::vector<Worker>(static_cast<size_t>(threads));
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
  stopping_.store(true, std::memory_order_relaxed);
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
  // A worker about to fall asleep may not be seen by notify_all, and then misses this loop.
  // Sequential consistency would spare that, at 2 % of each step of a small model (measured).
  state_.store((loop + kLoopStep) | kOpen, std::memory_order_release);
  state_.notify_all();

  while (!TakeItems(0)) OfferCore(0);

  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  const auto empty = [this] { return (state_.load(std::memory_order_acquire) & kInsideMask) == 0; };
  if (SpinUntil(empty)) return;
  for (uint32_t seen = state_.load(std::memory_order_acquire); (seen & kInsideMask) != 0;
       seen = state_.load(std::memory_order_acquire)) {
    state_.wait(seen, std::memory_order_acquire);
  }
}

// Until none is left. False before that: the worker is to offer its core and come back.
bool ThreadPool::TakeItems(int worker) {
  const auto end = workers_[static_cast<size_t>(worker)].running_since + kOfferEvery;
  while (Clock::now() < end) {
    const int64_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
    if (item >= items_) return true;
    fn_(context_, item, worker);
  }
  return false;
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
  std::atomic<int>& noted = workers_[static_cast<size_t>(worker)].core;
  const int core = sched_getcpu();
  if (noted.load(std::memory_order_relaxed) != core) noted.store(core, std::memory_order_relaxed);
}

// A core that nobody else waits for comes back at once. Only then a look at where this worker is:
// meanwhile the system may have put it elsewhere.
void ThreadPool::OfferCore(int worker) {
  sched_yield();
  workers_[static_cast<size_t>(worker)].running_since = Clock::now();
  if (worker != 0) LeaveSharedCore(worker);
}

// Where a neighbour takes a core, the system tends to leave that one to it and puts two workers on
// one core: moves this one to a core without any.
void ThreadPool::LeaveSharedCore(int worker) {
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof(all), &all) != 0) return;
  cpu_set_t free = all;
  for (size_t other = 0; other < workers_.size(); ++other) {
    const int core = workers_[other].core.load(std::memory_order_relaxed);
    if (other != static_cast<size_t>(worker) && core >= 0) CPU_CLR(core, &free);
  }
  if (CPU_COUNT(&free) == 0 || CPU_ISSET(sched_getcpu(), &free)) return;
  sched_setaffinity(0, sizeof(free), &free);
  sched_setaffinity(0, sizeof(all), &all);
  NoteCore(worker);
}

void ThreadPool::WorkerMain(int worker) {
  Worker& self = workers_[static_cast<size_t>(worker)];
  uint32_t state = 0;
  while (true) {
    if (WaitForChange(&state)) self.running_since = Clock::now();
    while (true) {
      if (stopping_.load(std::memory_order_relaxed)) return;
      if (!TryJoin(state)) break;
      NoteCore(worker);
      const bool finished = TakeItems(worker);
      state = Leave();
      if (finished) break;
      OfferCore(worker);
      state = state_.load(std::memory_order_acquire);
    }
  }
}

}  // namespace quire::kernels
