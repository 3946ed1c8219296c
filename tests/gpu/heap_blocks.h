#pragma once

#include <cstddef>
#include <optional>

namespace quire::gpu {

// What operator new gave out and delete has not taken back. Binaries that link this have the
// operators of heap_blocks.cc, which keep a list. Any thread.
struct HeapBlock {
  std::byte* data = nullptr;
  size_t bytes = 0;
};

// The block that holds the address; nothing where it is not the heap's.
std::optional<HeapBlock> FindHeapBlock(const void* address);

}  // namespace quire::gpu
