#pragma once

#include <cstddef>
#include <cstdint>

namespace quire {

// Where every block and byte of the KV cache is at one moment. Invariant:
// free + active + fenced == total.
struct KvSnapshot {
  int64_t total_blocks = 0;
  int64_t free_blocks = 0;
  int64_t active_blocks = 0;     // named by at least one block table
  int64_t fenced_blocks = 0;     // released, but a launched step may still touch them
  int64_t promised_blocks = 0;   // what running requests may still grow by
  int64_t filled_slots = 0;      // token slots in active blocks that hold a token
  uint64_t allocated_total = 0;  // blocks taken from the free list since start
  uint64_t freed_total = 0;      // blocks put back since start
  size_t block_bytes = 0;
  size_t arena_bytes = 0;
  int32_t block_tokens = 0;
};

}  // namespace quire
