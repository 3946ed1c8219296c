#pragma once

#include <array>
#include <cstdint>

#include "kernels/api/views.h"

namespace quire {

// Blocks of each cache class; entries beyond the model's classes are 0.
using KvBlockCounts = std::array<int32_t, kernels::kMaxCacheClasses>;

// How much KV admissions may still promise. A value: planning spends a copy.
//
// Classes share the arena's slabs. A class needs a slab for every blocks_per_slab blocks it has
// promised, fenced or protected, and those it holds now even if they are but partly filled; it
// claims another one only when all of its own are full. So as long as
//
//   sum over classes of max(claimed, ceil((spoken_for + protected) / blocks_per_slab)) <=
//   total_slabs
//
// a promised block can always be had.
struct KvBudget {
  struct Class {
    int64_t spoken_for = 0;        // blocks promised or fenced
    int64_t protected_blocks = 0;  // computed prefixes that a tenant's floor keeps
    int32_t claimed_slabs = 0;
    int32_t blocks_per_slab = 1;
    int64_t block_bytes = 0;
  };
  std::array<Class, kernels::kMaxCacheClasses> classes;
  int32_t num_classes = 0;
  int32_t total_slabs = 0;
  int64_t slab_bytes = 0;

  // Takes all of `blocks`, or nothing and returns false.
  [[nodiscard]] bool TryTake(const KvBlockCounts& blocks);
  int64_t SlabsNeeded() const;
  // With what floors protect as if it were free: they may have been raised.
  KvBudget PassingFloors() const;
  int64_t FreeSlabs() const { return total_slabs - SlabsNeeded(); }
  // What can still be promised, of several classes to any of them alone: whole slabs then.
  int64_t FreeBytes() const;
};

}  // namespace quire
