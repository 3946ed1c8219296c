#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kv/kv_cache_manager.h"

namespace quire {

inline constexpr size_t kSmallBlockBytes = 256;

// One layer, one group: a block holds 16 tokens in 256 bytes.
inline KvLayout SmallLayout() {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.layers = {{.kv_groups = 1, .head_dim = 4}};
  return layout;
}

// A manager with an arena of its own, one block a slab.
struct SmallKvCache {
  explicit SmallKvCache(int32_t blocks)
      : arena(static_cast<size_t>(blocks) * kSmallBlockBytes, kSmallBlockBytes),
        kv({SmallLayout()}, &arena, /*in_flight_tokens=*/16) {}

  void Grow(SequenceId sequence, int64_t tokens) {
    const KvNeed need{sequence, tokens};
    kv.Reserve({&need, 1}).Commit();
  }

  SlabArena arena;
  KvCacheManager kv;
};

}  // namespace quire
