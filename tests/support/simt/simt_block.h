#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/kernel_entry.h"
#include "tests/support/simt/fiber.h"
#include "tests/support/simt/warp_ops.h"

namespace quire::kernels::simt {

// Runs the blocks of one launch, one after the other. Every thread of a block is a fiber: it runs
// until it reaches an operation that needs others, and the last to arrive carries it out. Which
// warp runs next, and which of its lanes first, follows from the seed. A check that fails ends the
// block; the rest of the launch does not run.
//
// Checked: all 32 lanes take part in a warp operation and ask for the same one; all threads reach a
// barrier; addresses of shared memory lie inside it and are aligned; copies are waited for.
// Shared memory is NaN (0xFF) until written, and the target of a copy until the copy is waited for.
class Block {
 public:
  Block(const cuda::KernelEntry& entry, const cuda::LaunchShape& shape, const void* args,
        uint64_t seed);
  ~Block();

  // What went wrong, or "".
  std::string Run(int32_t block_x, int32_t block_y);

  // For SimtContext, on behalf of the running thread `index`.
  int32_t block_x() const { return block_x_; }
  int32_t block_y() const { return block_y_; }
  int32_t grid_x() const { return shape_.grid_x; }
  std::byte* shared() const { return shared_; }
  void Barrier(int index) { Leave(index, State::kAtBarrier); }
  // Fill in the request first; it holds the result afterwards.
  WarpRequest& request(int index) { return thread(index).request; }
  void WarpOperation(int index, WarpOp op);
  void CopyAsync16(int index, void* shared, const void* global, bool valid);
  void CopyCommit(int index);
  void CopyWait(int index, int pending);
  void CheckShared(int index, const void* address, size_t bytes, const char* what);
  // printf's format. What the thread's stack owns at that time is never freed.
  [[noreturn]] void Fail(int index, const char* format, ...) __attribute__((format(printf, 3, 4)));

 private:
  enum class State : uint8_t { kReady, kAtBarrier, kAtWarpOp, kExited };
  // Of a warp: bit i is lane i.
  struct Warp {
    uint32_t ready = 0;
    uint32_t at_warp_op = 0;
  };
  struct Copy {
    std::byte* to;
    const std::byte* from;  // null: zeros
  };
  struct Thread {
    Block* block = nullptr;
    int index = 0;
    State state = State::kReady;
    Fiber fiber;
    WarpRequest request;
    std::vector<Copy> copies;         // on their way, oldest first
    std::vector<size_t> group_sizes;  // of those committed
    size_t committed = 0;
  };

  static void RunThread(void* thread);
  Thread& thread(int index) { return threads_[static_cast<size_t>(index)]; }
  Warp& warp(int index) { return warps_[static_cast<size_t>(index)]; }
  void StartThreads();
  void CheckCanaries();
  uint32_t Random(uint32_t bound);
  // Leaves the running thread, which has to wait or has ended, for whoever may run.
  void Leave(int index, State state);
  int NextReady(int index);
  int ReadyLane(int warp_index);
  bool CompleteWarpOp(int index);
  int ReadyLaneOfSomeWarp();
  void ReleaseBarrier(int index);
  void FailUnfinishedWarpOp(int warp_index);
  void Record(int index, const std::string& what);

  cuda::KernelEntry entry_;
  cuda::LaunchShape shape_;
  const void* args_;
  uint64_t random_;
  uint32_t patience_ = 1;  // a warp is left after one in so many of its operations
  int32_t block_x_ = 0;
  int32_t block_y_ = 0;
  int64_t steps_ = 0;
  int running_ = 0;
  std::string error_;
  std::unique_ptr<FiberStacks> stacks_;
  Fiber main_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::byte* allocation_ = nullptr;
  std::byte* shared_ = nullptr;
};

}  // namespace quire::kernels::simt
