#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/kv/block_pool.h"
#include "core/kv/kv_budget.h"
#include "core/kv/slab_arena.h"
#include "kernels/api/device.h"

namespace quire {

// Pinned host memory for swapped blocks, in slots of one block each. It is taken from the system
// once, in chunks, which the cache classes share as they share the device's slabs. A slot is free,
// held (a swapped sequence's) or released (nobody's, but a copy may still touch it): see BlockPool.
//
// Blocks are copied straight to and from their slots. Pageable memory behind a ring of pinned
// staging would not have to be pinned, but would cost a processor's copy of every byte. Engine
// thread only; the device must outlive it.
class HostBlockPool {
 public:
  // `block_bytes`: of each cache class. As many chunks as `bytes` has room for.
  static absl::StatusOr<std::unique_ptr<HostBlockPool>> Create(kernels::Device* device,
                                                               std::span<const size_t> block_bytes,
                                                               size_t bytes);

  bool HasRoomFor(const KvBlockCounts& blocks) const;
  BlockId Take(size_t cache_class);  // where there is room
  void Release(size_t cache_class, BlockId slot) { classes_[cache_class].pool.Release(slot); }
  void Free(size_t cache_class, BlockId slot);

  std::byte* Data(size_t cache_class, BlockId slot) const;
  size_t block_bytes(size_t cache_class) const { return classes_[cache_class].block_bytes; }
  size_t num_classes() const { return classes_.size(); }
  size_t bytes() const { return arena_.slab_bytes() * chunks_.size(); }
  // Held or released.
  size_t used_bytes() const;
  int32_t num_held(size_t cache_class) const { return classes_[cache_class].pool.num_held(); }
  int32_t num_released(size_t cache_class) const {
    return classes_[cache_class].pool.num_released();
  }
  bool AllFree() const { return arena_.free_slabs() == arena_.num_slabs(); }

 private:
  struct Class {
    size_t block_bytes = 0;
    BlockPool pool;
    std::vector<int32_t> chunks;  // by the pool's slab
  };

  HostBlockPool(std::span<const size_t> block_bytes, size_t chunk_bytes, size_t num_chunks);

  SlabArena arena_;
  std::vector<kernels::HostBuffer> chunks_;
  std::vector<Class> classes_;
};

}  // namespace quire
