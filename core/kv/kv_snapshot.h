#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/api/views.h"

namespace quire {

// Where every block of one cache class is at one moment. Invariant: free + active + fenced ==
// total. Classes share the arena: what none of them has claimed counts as free for each, so with
// several classes the totals move as they take slabs from each other.
struct KvClassSnapshot {
  int64_t total_blocks = 0;
  int64_t free_blocks = 0;
  int64_t active_blocks = 0;     // named by at least one block table
  int64_t fenced_blocks = 0;     // released, but a launched step or a copy may still touch them
  int64_t cached_blocks = 0;     // named by none, but found by their tokens
  int64_t promised_blocks = 0;   // what running requests may still grow by
  int64_t filled_slots = 0;      // token slots in active blocks that hold a token
  int64_t table_entries = 0;     // of all block tables: beyond active_blocks, what they share
  uint64_t allocated_total = 0;  // blocks taken from the free list since start
  uint64_t freed_total = 0;      // blocks put back since start
  uint64_t evicted_total = 0;    // of those, cached ones
  size_t block_bytes = 0;
  int32_t block_tokens = 0;
  int32_t blocks_per_slab = 1;
  int32_t window = 0;  // 0: a token sees every position before it
};

struct KvSnapshot {
  std::array<KvClassSnapshot, kernels::kMaxCacheClasses> classes;
  int32_t num_classes = 0;
  size_t arena_bytes = 0;
  int32_t num_slabs = 0;
  size_t host_bytes = 0;       // that KV is swapped to; 0: it is not
  size_t host_used_bytes = 0;  // of those, in use
  uint64_t swapped_out_bytes = 0;
  uint64_t swapped_in_bytes = 0;
  uint64_t prefix_queried_tokens = 0;  // of prompts that were looked up
  uint64_t prefix_hit_tokens = 0;      // of those, found

  // Active blocks as a fraction of the arena.
  double UsageRatio() const {
    double slabs = 0;
    for (const KvClassSnapshot& c : classes) {
      slabs += static_cast<double>(c.active_blocks) / c.blocks_per_slab;
    }
    return num_slabs > 0 ? slabs / num_slabs : 0;
  }
  bool AllFree() const {
    for (const KvClassSnapshot& c : classes) {
      if (c.free_blocks + c.cached_blocks != c.total_blocks) return false;
    }
    return true;
  }
};

}  // namespace quire
