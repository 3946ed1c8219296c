#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace quire::kernels::simt {

// A context of execution with a stack of its own, or (default-constructed) the thread that makes
// it. One thread switches among its fibers; nothing runs at the same time. A fiber that is left and
// never resumed does not unwind its stack.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to this fiber calls entry(argument), which must not return. Whatever the fiber
  // was doing before is forgotten. `stack` lies at its lowest address and stays alive.
  void Start(std::byte* stack, size_t bytes, void (*entry)(void*), void* argument);

  // Leaves `from`, which is running, and runs `to` until somebody switches back.
  static void Switch(Fiber& from, Fiber& to);

 private:
  struct Machine;
  static void Enter(Fiber* fiber);
  void Arrived();

  void* stack_pointer_ = nullptr;
  std::byte* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  // ASan: the fake stack while left; TSan: its fiber.
  [[maybe_unused]] void* sanitizer_state_ = nullptr;
  Machine* machine_ = nullptr;  // where there is no switch of our own: the ucontext
};

// Equal stacks in one mapping, each above a page that faults. Making them costs system calls and
// page faults for every one of them, so the thread's last ones are kept for the next to ask.
class FiberStacks {
 public:
  // At least `count` stacks: those kept, or new ones.
  static std::unique_ptr<FiberStacks> Take(int count);
  // Each fiber on them has left for good, from its entry or a function that this called: Start
  // cleans up no deeper.
  static void Keep(std::unique_ptr<FiberStacks> stacks);

  explicit FiberStacks(int count);
  ~FiberStacks();
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;

  std::byte* stack(int index) const;
  static size_t StackBytes();

 private:
  static std::unique_ptr<FiberStacks>& Kept();

  const int count_;
  std::byte* mapping_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace quire::kernels::simt
