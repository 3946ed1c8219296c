#include "core/kv/slab_arena.h"

#include <algorithm>

#include "core/base/check.h"
#include "kernels/api/views.h"

namespace quire {

SlabArena::SlabArena(size_t arena_bytes, size_t slab_bytes) : slab_bytes_(slab_bytes) {
  QUIRE_CHECK(slab_bytes > 0 && slab_bytes % kernels::kKvOffsetUnit == 0) << slab_bytes;
  claimed_.resize(arena_bytes / slab_bytes, false);
  free_slabs_ = num_slabs();
}

size_t SlabArena::SlabBytesFor(size_t arena_bytes, size_t block_bytes) {
  QUIRE_CHECK(block_bytes > 0 && block_bytes % kernels::kKvOffsetUnit == 0) << block_bytes;
  // As few slabs as the largest size allows, of even size: the last one is not lost to rounding.
  const size_t slabs = std::max<size_t>((arena_bytes + kMaxSlabBytes - 1) / kMaxSlabBytes, 1);
  const size_t wanted = std::max(arena_bytes / slabs, block_bytes);
  return wanted / block_bytes * block_bytes;
}

std::optional<int32_t> SlabArena::Claim() {
  const auto free = std::find(claimed_.begin(), claimed_.end(), false);
  if (free == claimed_.end()) return std::nullopt;
  *free = true;
  --free_slabs_;
  return static_cast<int32_t>(free - claimed_.begin());
}

void SlabArena::Return(int32_t slab) {
  QUIRE_CHECK(slab >= 0 && slab < num_slabs() && claimed_[static_cast<size_t>(slab)])
      << "slab " << slab << " is not claimed";
  claimed_[static_cast<size_t>(slab)] = false;
  ++free_slabs_;
}

}  // namespace quire
