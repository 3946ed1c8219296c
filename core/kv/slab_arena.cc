#include "core/kv/slab_arena.h"

#include <algorithm>
#include <numeric>

#include "core/base/check.h"
#include "kernels/api/views.h"

namespace quire {
namespace {

// A pool leaves part of its last slab unused; with this many the loss stays at a few per cent.
constexpr size_t kSlabsForSeveralPools = 64;

}  // namespace

SlabArena::SlabArena(size_t arena_bytes, size_t slab_bytes) : slab_bytes_(slab_bytes) {
  QUIRE_CHECK(slab_bytes > 0 && slab_bytes % kernels::kKvOffsetUnit == 0) << slab_bytes;
  claimed_.resize(arena_bytes / slab_bytes, false);
  free_slabs_ = num_slabs();
}

size_t SlabArena::SlabBytesFor(size_t arena_bytes, std::span<const size_t> block_bytes) {
  QUIRE_CHECK(!block_bytes.empty());
  // A slab that is a multiple of every block size wastes nothing.
  size_t largest = 0, common = 1;
  for (const size_t bytes : block_bytes) {
    QUIRE_CHECK(bytes > 0 && bytes % kernels::kKvOffsetUnit == 0) << "block_bytes " << bytes;
    largest = std::max(largest, bytes);
    common = common <= kMaxSlabBytes ? std::lcm(common, bytes) : common;
  }
  // As few slabs as the largest size allows, of even size: the last one is not lost to rounding.
  const size_t fewest = block_bytes.size() == 1 ? 1 : kSlabsForSeveralPools;
  const size_t slabs = std::max((arena_bytes + kMaxSlabBytes - 1) / kMaxSlabBytes, fewest);
  const size_t wanted = std::max(arena_bytes / slabs, largest);
  const size_t unit = common <= wanted ? common : largest;
  return wanted / unit * unit;
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
