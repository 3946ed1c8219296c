#include "kernels/cpu/host_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <limits>

namespace quire::kernels {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kHugePage = size_t{2} << 20;

bool IsLarge(size_t bytes) { return bytes >= kHugePage; }
size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Maps a huge page more than asked for and gives the ends back, so that the start is aligned and
// a single TLB entry reaches 2 MiB from the first byte on.
std::byte* MapLarge(size_t bytes) {
  const size_t size = RoundUp(bytes, kHugePage);
  void* map =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  auto* raw = static_cast<std::byte*>(map);
  const size_t head =
      RoundUp(reinterpret_cast<uintptr_t>(raw), kHugePage) - reinterpret_cast<uintptr_t>(raw);
  if (head > 0) munmap(raw, head);
  if (head < kHugePage) munmap(raw + head + size, kHugePage - head);
  madvise(raw + head, size, MADV_HUGEPAGE);  // advice: small pages work too
  return raw + head;
}

}  // namespace

std::byte* AllocateHostMemory(size_t bytes) {
  if (bytes > std::numeric_limits<size_t>::max() / 2) return nullptr;
  if (IsLarge(bytes)) return MapLarge(bytes);
  const size_t size = RoundUp(bytes == 0 ? 1 : bytes, kAlignment);
  return static_cast<std::byte*>(std::aligned_alloc(kAlignment, size));
}

void FreeHostMemory(std::byte* data, size_t bytes) {
  if (data == nullptr) return;
  if (IsLarge(bytes)) {
    munmap(data, RoundUp(bytes, kHugePage));
  } else {
    std::free(data);
  }
}

bool HostMemory::Reserve(size_t bytes) {
  if (bytes <= bytes_) return true;
  std::byte* grown = AllocateHostMemory(bytes);
  if (grown == nullptr) return false;
  FreeHostMemory(data_, bytes_);
  data_ = grown;
  bytes_ = bytes;
  return true;
}

}  // namespace quire::kernels
