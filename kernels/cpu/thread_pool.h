#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace quire::kernels {

// A fixed set of threads that share out the items of one loop at a time. The thread that calls
// ParallelFor is worker 0 and always takes part; it must be the same one at a time.
// A worker joins a loop only if it arrives before the items run out, so a thread that the system
// has not scheduled (a neighbour holds its core) delays nobody; and workers offer their core to
// whoever waits for it between items, so as to lose it less often in the midst of one, for which
// all would wait. Whoever waits spins for some microseconds, then sleeps. No allocation and no lock
// in a loop.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // throws std::system_error when the system has no thread left
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(item, worker) once for every item in [0, items), in any order and on any worker
  // in [0, size()), and returns when all calls have returned. `body` must not throw.
  template <typename Body>
  void ParallelFor(int64_t items, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    Run(
        items,
        [](const void* context, int64_t item, int worker) {
          (*static_cast<const Plain*>(context))(item, worker);
        },
        &body);
  }

 private:
  using Clock = std::chrono::steady_clock;
  using ItemFn = void (*)(const void* context, int64_t item, int worker);

  void Run(int64_t items, ItemFn fn, const void* context);
  void WorkerMain(int worker);
  bool TryJoin(uint32_t seen);
  uint32_t Leave();
  bool TakeItems(int worker);
  bool WaitForChange(uint32_t* value) const;
  void NoteCore(int worker);
  void OfferCore(int worker);
  void LeaveSharedCore(int worker);
  void StopAll();

  // One word says all: bits 0-14 workers inside the loop, bit 15 loop open for joining, the rest
  // counts loops (and may wrap: a worker that misses a loop delays nobody). The fields below change
  // only while the loop is closed and nobody is inside.
  alignas(64) std::atomic<uint32_t> state_{0};
  ItemFn fn_ = nullptr;
  const void* context_ = nullptr;
  int64_t items_ = 0;
  alignas(64) std::atomic<int64_t> next_item_{0};
  alignas(64) std::atomic<bool> stopping_{false};
  struct alignas(64) Worker {
    std::atomic<int> core{-1};        // where it was last seen
    Clock::time_point running_since;  // its own: since it slept, or offered its core
  };
  std::vector<Worker> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace quire::kernels
