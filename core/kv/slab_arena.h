#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace quire {

// One device's KV memory, cut into equal slabs. A slab belongs to one pool of blocks at a time and
// comes back when the pool gives it up: that is how models with different block sizes share a
// device. Hands out indices; the memory itself belongs to the device. Engine thread only.
class SlabArena {
 public:
  // The largest slab: small enough to move between models, large enough to waste little.
  static constexpr size_t kMaxSlabBytes = size_t{32} << 20;

  SlabArena(size_t arena_bytes, size_t slab_bytes);

  // A slab size for an arena whose pools have blocks of these sizes, one or more: at most
  // kMaxSlabBytes unless one block alone is larger. Several pools get slabs small enough to share
  // the arena out finely.
  static size_t SlabBytesFor(size_t arena_bytes, std::span<const size_t> block_bytes);

  // Lowest free slab first; nullopt when none is left.
  std::optional<int32_t> Claim();
  void Return(int32_t slab);

  size_t slab_bytes() const { return slab_bytes_; }
  int32_t num_slabs() const { return static_cast<int32_t>(claimed_.size()); }
  int32_t free_slabs() const { return free_slabs_; }

 private:
  size_t slab_bytes_;
  std::vector<bool> claimed_;
  int32_t free_slabs_;
};

}  // namespace quire
