#include "tests/gpu/heap_blocks.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace quire::gpu {
namespace {

// The list's own memory, which operator new must not be asked for.
template <typename T>
struct MallocAllocator {
  using value_type = T;
  MallocAllocator() = default;
  template <typename U>
  explicit MallocAllocator(const MallocAllocator<U>&) {}
  T* allocate(size_t count) {
    void* memory = std::malloc(count * sizeof(T));
    if (memory == nullptr) std::abort();
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { std::free(memory); }
  bool operator==(const MallocAllocator&) const { return true; }
};

class HeapList {
 public:
  void* Allocate(size_t bytes, size_t alignment) {
    alignment = std::max(alignment, alignof(std::max_align_t));
    const size_t rounded = (std::max(bytes, size_t{1}) + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    if (memory == nullptr) std::abort();
    const std::lock_guard lock(mutex_);
    blocks_.emplace(static_cast<std::byte*>(memory), bytes);
    return memory;
  }
  void Free(void* memory) {
    if (memory == nullptr) return;
    {
      const std::lock_guard lock(mutex_);
      blocks_.erase(static_cast<std::byte*>(memory));
    }
    std::free(memory);
  }
  std::optional<HeapBlock> Find(const void* address) {
    auto* const at = static_cast<std::byte*>(const_cast<void*>(address));
    const std::lock_guard lock(mutex_);
    auto next = blocks_.upper_bound(at);
    if (next == blocks_.begin()) return std::nullopt;
    const auto [data, bytes] = *--next;
    // Blocks are never neighbours, so what is one past an end belongs to that block.
    if (at > data + bytes) return std::nullopt;
    return HeapBlock{data, bytes};
  }

 private:
  using Entry = std::pair<std::byte* const, size_t>;

  std::mutex mutex_;
  std::map<std::byte*, size_t, std::less<>, MallocAllocator<Entry>> blocks_;
};

// Made when first needed and never destroyed: memory is still freed while the process ends.
HeapList& Heap() {
  alignas(HeapList) static std::byte storage[sizeof(HeapList)];
  static HeapList* const list = new (storage) HeapList;
  return *list;
}

}  // namespace

std::optional<HeapBlock> FindHeapBlock(const void* address) { return Heap().Find(address); }

}  // namespace quire::gpu

// The other forms of the standard library call these four.
void* operator new(size_t bytes) { return quire::gpu::Heap().Allocate(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return quire::gpu::Heap().Allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { quire::gpu::Heap().Free(memory); }
void operator delete(void* memory, size_t) noexcept { quire::gpu::Heap().Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { quire::gpu::Heap().Free(memory); }
