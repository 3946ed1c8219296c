#include "tests/support/simt/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUIRE_SIMT_ASAN
#endif
#if __has_feature(thread_sanitizer)
#define QUIRE_SIMT_TSAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define QUIRE_SIMT_ASAN
#endif
#if defined(__SANITIZE_THREAD__)
#define QUIRE_SIMT_TSAN
#endif

#ifdef QUIRE_SIMT_ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef QUIRE_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// The system's switch, where there is none of our own, costs a system call.
#if defined(__x86_64__) && !defined(QUIRE_SIMT_UCONTEXT)
#define QUIRE_SIMT_OWN_SWITCH
// Pushes what a callee must keep, swaps stacks and pops it from the other one.
extern "C" void quire_simt_switch(void** save, void* load);
// Where a fresh stack goes on: calls rbp(rbx).
extern "C" void quire_simt_enter();
asm(R"(
  .text
  .globl quire_simt_switch
  .hidden quire_simt_switch
  .type quire_simt_switch, @function
quire_simt_switch:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret
  .size quire_simt_switch, .-quire_simt_switch
  .globl quire_simt_enter
  .hidden quire_simt_enter
  .type quire_simt_enter, @function
quire_simt_enter:
  movq %rbx, %rdi
  callq *%rbp
  ud2
  .size quire_simt_enter, .-quire_simt_enter
)");
#endif

namespace quire::kernels::simt {
namespace {

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

size_t PageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

#ifdef QUIRE_SIMT_ASAN
void FindOwnStack(std::byte** stack, size_t* bytes) {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) Die("pthread_getattr_np");
  void* lowest = nullptr;
  pthread_attr_getstack(&attributes, &lowest, bytes);
  pthread_attr_destroy(&attributes);
  *stack = static_cast<std::byte*>(lowest);
}
#endif

}  // namespace

struct Fiber::Machine {
  ucontext_t context;
};

Fiber::Fiber() {
#ifndef QUIRE_SIMT_OWN_SWITCH
  machine_ = new Machine;
#endif
}

Fiber::~Fiber() {
  delete machine_;
#ifdef QUIRE_SIMT_TSAN
  if (stack_ != nullptr) __tsan_destroy_fiber(sanitizer_state_);
#endif
}

void Fiber::Start(std::byte* stack, size_t bytes, void (*entry)(void*), void* argument) {
#ifdef QUIRE_SIMT_ASAN
  // What returned has cleaned up behind it; what ended a fiber without returning is at the top.
  constexpr size_t kTop = 8 << 10;
  ASAN_UNPOISON_MEMORY_REGION(stack + bytes - kTop, kTop);
  sanitizer_state_ = nullptr;
#endif
#ifdef QUIRE_SIMT_TSAN
  if (stack_ == nullptr) sanitizer_state_ = __tsan_create_fiber(0);
#endif
  stack_ = stack;
  stack_bytes_ = bytes;
  entry_ = entry;
  argument_ = argument;
#ifdef QUIRE_SIMT_OWN_SWITCH
  // As the switch leaves a stack: six registers and where to go on, with Enter's stack aligned.
  auto** top = reinterpret_cast<void**>(stack + bytes) - 2;
  *--top = reinterpret_cast<void*>(&quire_simt_enter);
  *--top = this;                                 // rbx
  *--top = reinterpret_cast<void*>(&Enter);      // rbp
  for (int i = 0; i < 4; ++i) *--top = nullptr;  // r12 to r15
  stack_pointer_ = top;
#else
  getcontext(&machine_->context);
  machine_->context.uc_stack.ss_sp = stack;
  machine_->context.uc_stack.ss_size = bytes;
  const auto address = reinterpret_cast<uintptr_t>(this);
  const auto enter = +[](unsigned high, unsigned low) {
    Enter(reinterpret_cast<Fiber*>(static_cast<uintptr_t>(high) << 32 | low));
  };
  makecontext(&machine_->context, reinterpret_cast<void (*)()>(enter), 2,
              static_cast<unsigned>(address >> 32), static_cast<unsigned>(address));
#endif
}

void Fiber::Enter(Fiber* fiber) {
  fiber->Arrived();
  fiber->entry_(fiber->argument_);
  std::abort();
}

void Fiber::Arrived() {
#ifdef QUIRE_SIMT_ASAN
  __sanitizer_finish_switch_fiber(sanitizer_state_, nullptr, nullptr);
#endif
}

void Fiber::Switch(Fiber& from, Fiber& to) {
#ifdef QUIRE_SIMT_ASAN
  if (from.stack_ == nullptr) FindOwnStack(&from.stack_, &from.stack_bytes_);
  __sanitizer_start_switch_fiber(&from.sanitizer_state_, to.stack_, to.stack_bytes_);
#endif
#ifdef QUIRE_SIMT_TSAN
  if (from.stack_ == nullptr) from.sanitizer_state_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.sanitizer_state_, 0);
#endif
#ifdef QUIRE_SIMT_OWN_SWITCH
  quire_simt_switch(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.machine_->context, &to.machine_->context);
#endif
  from.Arrived();
}

std::unique_ptr<FiberStacks>& FiberStacks::Kept() {
  thread_local std::unique_ptr<FiberStacks> kept;
  return kept;
}

std::unique_ptr<FiberStacks> FiberStacks::Take(int count) {
  std::unique_ptr<FiberStacks> kept = std::move(Kept());
  if (kept != nullptr && kept->count_ >= count) return kept;
  return std::make_unique<FiberStacks>(count);
}

void FiberStacks::Keep(std::unique_ptr<FiberStacks> stacks) {
  std::unique_ptr<FiberStacks>& kept = Kept();
  if (kept == nullptr || kept->count_ < stacks->count_) kept = std::move(stacks);
}

FiberStacks::FiberStacks(int count)
    : count_(count), bytes_(static_cast<size_t>(count) * (StackBytes() + PageBytes())) {
  void* mapping = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) Die("mmap of the fibers' stacks");
  mapping_ = static_cast<std::byte*>(mapping);
  for (int i = 0; i < count; ++i) {
    if (mprotect(stack(i) - PageBytes(), PageBytes(), PROT_NONE) != 0) Die("mprotect");
  }
}

FiberStacks::~FiberStacks() {
#ifdef QUIRE_SIMT_ASAN
  ASAN_UNPOISON_MEMORY_REGION(mapping_, bytes_);
#endif
  munmap(mapping_, bytes_);
}

std::byte* FiberStacks::stack(int index) const {
  const auto i = static_cast<size_t>(index);
  return mapping_ + i * (StackBytes() + PageBytes()) + PageBytes();
}

size_t FiberStacks::StackBytes() {
#if defined(QUIRE_SIMT_ASAN) || defined(QUIRE_SIMT_TSAN)
  return 256 << 10;  // every variable has room around it
#else
  return 64 << 10;
#endif
}

}  // namespace quire::kernels::simt
