#include "kernels/cpu/thread_pool.h"

#include <chrono>

#include "kernels/api/types.h"

namespace quire::kernels {
namespace {

constexpr uint32_t kInsideMask = 0x7fff;
constexpr uint32_t kOpen = 0x8000;
constexpr uint32_t kLoopStep = 0x10000;

// Longer than the gaps between the operations of a step, much shorter than a scheduler tick.
constexpr auto kSpinTime = std::chrono::microseconds(50);
constexpr int kPausesPerClockRead = 32;

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
  const auto give_up = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < give_up);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  KERNELS_CHECK(threads >= 1 && threads <= static_cast<int>(kInsideMask));
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
  fn_ = fn;
  context_ = context;
  items_ = items;
  next_item_.store(0, std::memory_order_relaxed);
  // Closed and empty since the last loop ended: nobody else changes the word now.
  const uint32_t loop = state_.load(std::memory_order_relaxed) & ~(kInsideMask | kOpen);
  state_.store((loop + kLoopStep) | kOpen, std::memory_order_release);
  state_.notify_all();

  TakeItems(0);

  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  const auto empty = [this] { return (state_.load(std::memory_order_acquire) & kInsideMask) == 0; };
  if (SpinUntil(empty)) return;
  for (uint32_t seen = state_.load(std::memory_order_acquire); (seen & kInsideMask) != 0;
       seen = state_.load(std::memory_order_acquire)) {
    state_.wait(seen, std::memory_order_acquire);
  }
}

void ThreadPool::TakeItems(int worker) {
  for (;;) {
    const int64_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
    if (item >= items_) return;
    fn_(context_, item, worker);
  }
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

// Returns the word once it differs from `value` by more than the number of workers inside.
uint32_t ThreadPool::WaitForChange(uint32_t value) const {
  const auto changed = [this, value] {
    return ((state_.load(std::memory_order_acquire) ^ value) & ~kInsideMask) != 0;
  };
  if (!SpinUntil(changed)) {
    for (uint32_t seen = state_.load(std::memory_order_acquire);
         ((seen ^ value) & ~kInsideMask) == 0; seen = state_.load(std::memory_order_acquire)) {
      state_.wait(seen, std::memory_order_acquire);
    }
  }
  return state_.load(std::memory_order_acquire);
}

void ThreadPool::WorkerMain(int worker) {
  uint32_t state = 0;
  while (true) {
    state = WaitForChange(state);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if (!TryJoin(state)) continue;
    TakeItems(worker);
    state = Leave();
  }
}

}  // namespace quire::kernels
