#include "tests/support/simt/simt_block.h"

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "tests/support/simt/simt_backend.h"

#if defined(__has_include)
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

namespace quire::kernels::simt {
namespace {

constexpr int kPoison = 0xff;  // NaN in every element type
constexpr std::byte kCanary{0xa5};
constexpr size_t kCanaryBytes = 1024;
constexpr std::align_val_t kSharedAlignment{1024};
constexpr size_t kCopyBytes = 16;
// More operations than any real block needs: a loop that does not end.
constexpr int64_t kMaxSteps = 200'000'000;

bool Aligned(const void* address, size_t bytes) {
  return reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

}  // namespace

Block::Block(const cuda::KernelEntry& entry, const cuda::LaunchShape& shape, const void* args,
             uint64_t seed)
    : entry_(entry),
      shape_(shape),
      args_(args),
      random_(seed * 2 + 1),
      stacks_(FiberStacks::Take(entry.threads)),
      threads_(static_cast<size_t>(entry.threads)),
      warps_(static_cast<size_t>(entry.threads) / 32) {
  const auto bytes = static_cast<size_t>(shape.shared_bytes);
  allocation_ = static_cast<std::byte*>(::operator new(bytes + 2 * kCanaryBytes, kSharedAlignment));
  shared_ = allocation_ + kCanaryBytes;
  std::fill_n(allocation_, kCanaryBytes, kCanary);
  std::fill_n(shared_ + bytes, kCanaryBytes, kCanary);
  ASAN_POISON_MEMORY_REGION(allocation_, kCanaryBytes);
  ASAN_POISON_MEMORY_REGION(shared_ + bytes, kCanaryBytes);
}

Block::~Block() {
  // Of a block that has failed threads stopped anywhere.
  if (error_.empty()) FiberStacks::Keep(std::move(stacks_));
  ASAN_UNPOISON_MEMORY_REGION(allocation_,
                              static_cast<size_t>(shape_.shared_bytes) + 2 * kCanaryBytes);
  ::operator delete(allocation_, kSharedAlignment);
}

std::string Block::Run(int32_t block_x, int32_t block_y) {
  block_x_ = block_x;
  block_y_ = block_y;
  steps_ = 0;
  error_.clear();
  constexpr uint32_t kPatience[] = {1, 2, 16, 1u << 30};
  patience_ = kPatience[Random(4)];
  std::memset(shared_, kPoison, static_cast<size_t>(shape_.shared_bytes));
  if (entry_.threads <= 0 || entry_.threads % 32 != 0 || entry_.threads > 1024) {
    Record(0, "a block has no such number of threads: " + std::to_string(entry_.threads));
    return error_;
  }
  StartThreads();
  running_ = ReadyLaneOfSomeWarp();
  Fiber::Switch(main_, thread(running_).fiber);
  if (error_.empty()) CheckCanaries();
  return error_;
}

void Block::StartThreads() {
  for (int i = 0; i < entry_.threads; ++i) {
    Thread& started = thread(i);
    started.block = this;
    started.index = i;
    started.state = State::kReady;
    started.copies.clear();
    started.group_sizes.clear();
    started.committed = 0;
    // Stacks that began at the same offset of a page would share the same few lines of the cache.
    const size_t bytes = FiberStacks::StackBytes() - static_cast<size_t>(i % 32) * 320;
    started.fiber.Start(stacks_->stack(i), bytes, RunThread, &started);
  }
  std::fill(warps_.begin(), warps_.end(), Warp{~0u, 0});
}

void Block::RunThread(void* argument) {
  auto* self = static_cast<Thread*>(argument);
  Block* block = self->block;
  SimtContext context(block, self->index);
  reinterpret_cast<SimtBackend::Function>(const_cast<void*>(block->entry_.function))(context,
                                                                                     block->args_);
  if (!self->copies.empty()) block->Fail(self->index, "ends with copies it has not waited for");
  block->Leave(self->index, State::kExited);
}

uint32_t Block::Random(uint32_t bound) {
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(random_ >> 33) % bound;
}

void Block::CheckCanaries() {
  const auto bytes = static_cast<size_t>(shape_.shared_bytes);
  ASAN_UNPOISON_MEMORY_REGION(allocation_, kCanaryBytes);
  ASAN_UNPOISON_MEMORY_REGION(shared_ + bytes, kCanaryBytes);
  const auto intact = [](const std::byte* from) {
    return std::all_of(from, from + kCanaryBytes, [](std::byte b) { return b == kCanary; });
  };
  if (!intact(allocation_)) Record(0, "something wrote in front of the shared memory");
  if (!intact(shared_ + bytes)) Record(0, "something wrote behind the shared memory");
  ASAN_POISON_MEMORY_REGION(allocation_, kCanaryBytes);
  ASAN_POISON_MEMORY_REGION(shared_ + bytes, kCanaryBytes);
}

void Block::Record(int index, const std::string& what) {
  if (!error_.empty()) return;
  error_ = std::string("kernel ") + entry_.name + ", block " + std::to_string(block_x_) + "," +
           std::to_string(block_y_) + ", thread " + std::to_string(index) + " (warp " +
           std::to_string(index / 32) + ", lane " + std::to_string(index % 32) + "): " + what;
}

void Block::Fail(int index, const char* format, ...) {
  char what[256];
  va_list values;
  va_start(values, format);
  std::vsnprintf(what, sizeof(what), format, values);
  va_end(values);
  Record(index, what);
  Fiber::Switch(thread(running_).fiber, main_);
  std::abort();  // nobody resumes a thread of a block that has failed
}

void Block::Leave(int index, State state) {
  thread(index).state = state;
  Warp& own = warp(index / 32);
  own.ready &= ~(1u << index % 32);
  if (state == State::kAtWarpOp) own.at_warp_op |= 1u << index % 32;
  const int next = NextReady(index);
  if (next == index) return;
  running_ = next;
  Fiber::Switch(thread(index).fiber, next < 0 ? main_ : thread(next).fiber);
}

// The thread to run now that `index` cannot go on; -1 when the block has ended.
int Block::NextReady(int index) {
  if (const int lane = ReadyLane(index / 32); lane >= 0) return lane;
  if (++steps_ > kMaxSteps) Fail(index, "the block does not end");
  if (CompleteWarpOp(index) && Random(patience_) != 0) return ReadyLane(index / 32);
  if (const int other = ReadyLaneOfSomeWarp(); other >= 0) return other;
  const bool all_exited = std::all_of(threads_.begin(), threads_.end(),
                                      [](const Thread& t) { return t.state == State::kExited; });
  if (all_exited) return -1;
  ReleaseBarrier(index);
  return ReadyLaneOfSomeWarp();
}

// One of the ready lanes from a random one on; -1 where none is.
int Block::ReadyLane(int warp_index) {
  const uint32_t ready = warp(warp_index).ready;
  if (ready == 0) return -1;
  const auto first = static_cast<int>(Random(32));
  return warp_index * 32 + (first + std::countr_zero(std::rotr(ready, first))) % 32;
}

int Block::ReadyLaneOfSomeWarp() {
  const auto warps = static_cast<int>(warps_.size());
  const auto first = static_cast<int>(Random(static_cast<uint32_t>(warps)));
  for (int i = 0; i < warps; ++i) {
    const int lane = ReadyLane((first + i) % warps);
    if (lane >= 0) return lane;
  }
  return -1;
}

// Carries out the operation that a warp without a ready lane waits for. False when it waits for the
// barrier or has ended.
bool Block::CompleteWarpOp(int index) {
  const int warp_index = index / 32;
  Warp& own = warp(warp_index);
  if (own.at_warp_op == 0) return false;
  if (own.at_warp_op != ~0u) FailUnfinishedWarpOp(warp_index);
  WarpRequest* lanes[32];
  for (int i = 0; i < 32; ++i) lanes[i] = &request(warp_index * 32 + i);
  for (const WarpRequest* lane : lanes) {
    if (lane->op != lanes[0]->op) FailUnfinishedWarpOp(warp_index);
  }
  Perform(lanes[0]->op, lanes);
  for (int i = 0; i < 32; ++i) thread(warp_index * 32 + i).state = State::kReady;
  own = {~0u, 0};
  return true;
}

void Block::FailUnfinishedWarpOp(int warp_index) {
  const int waiting = warp_index * 32 + std::countr_zero(warp(warp_index).at_warp_op);
  const WarpOp op = request(waiting).op;
  const char* own = WarpOpName(op);
  for (int i = 0; i < 32; ++i) {
    const Thread& lane = thread(warp_index * 32 + i);
    if (lane.state == State::kExited) Fail(waiting, "waits at %s, but lane %d has ended", own, i);
    if (lane.state == State::kAtBarrier) {
      Fail(waiting, "waits at %s, but lane %d at the block's barrier: deadlock", own, i);
    }
    if (lane.request.op != op) {
      Fail(waiting, "waits at %s, but lane %d at %s", own, i, WarpOpName(lane.request.op));
    }
  }
}

// Nobody can run: all wait at the barrier, or it never opens.
void Block::ReleaseBarrier(int index) {
  for (const Thread& other : threads_) {
    if (other.state == State::kExited) {
      const auto waiting = std::find_if(threads_.begin(), threads_.end(), [](const Thread& t) {
        return t.state == State::kAtBarrier;
      });
      Fail(waiting->index, "waits at the block's barrier, but thread %d has ended", other.index);
    }
    if (other.state != State::kAtBarrier) Fail(index, "deadlock");
  }
  for (Thread& other : threads_) other.state = State::kReady;
  std::fill(warps_.begin(), warps_.end(), Warp{~0u, 0});
}

void Block::WarpOperation(int index, WarpOp op) {
  request(index).op = op;
  Leave(index, State::kAtWarpOp);
}

void Block::CheckShared(int index, const void* address, size_t bytes, const char* what) {
  const auto* begin = static_cast<const std::byte*>(address);
  const auto at = static_cast<long>(begin - shared_);
  if (begin < shared_ || begin + bytes > shared_ + shape_.shared_bytes) {
    Fail(index, "%s outside shared memory, at byte %ld of %d", what, at, shape_.shared_bytes);
  }
  if (!Aligned(address, bytes)) {
    Fail(index, "%s at byte %ld of shared memory, which is not aligned to %zu", what, at, bytes);
  }
}

void Block::CopyAsync16(int index, void* shared, const void* global, bool valid) {
  CheckShared(index, shared, kCopyBytes, "copy");
  if (valid && !Aligned(global, kCopyBytes)) Fail(index, "copies from an unaligned address");
  std::memset(shared, kPoison, kCopyBytes);
  thread(index).copies.push_back(
      {static_cast<std::byte*>(shared), valid ? static_cast<const std::byte*>(global) : nullptr});
}

void Block::CopyCommit(int index) {
  Thread& self = thread(index);
  self.group_sizes.push_back(self.copies.size() - self.committed);
  self.committed = self.copies.size();
}

void Block::CopyWait(int index, int pending) {
  Thread& self = thread(index);
  while (self.group_sizes.size() > static_cast<size_t>(pending)) {
    const size_t count = self.group_sizes.front();
    for (size_t i = 0; i < count; ++i) {
      const Copy& copy = self.copies[i];
      if (copy.from == nullptr) {
        std::memset(copy.to, 0, kCopyBytes);
      } else {
        std::memcpy(copy.to, copy.from, kCopyBytes);
      }
    }
    self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<ptrdiff_t>(count));
    self.group_sizes.erase(self.group_sizes.begin());
    self.committed -= count;
  }
}

}  // namespace quire::kernels::simt
