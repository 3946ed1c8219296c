#pragma once

#include <cstdint>

#include "core/kv/kv_layout.h"

namespace quire {

// What a piece of memory holds when it is cut into blocks of one layout. Plain data.
struct KvCapacity {
  int64_t blocks = 0;
  int64_t tokens = 0;     // slots of those blocks
  int64_t sequences = 0;  // that fit at once, each of the context length asked for
};

// Counts whole blocks, as the allocator does: a sequence takes BlocksFor(context_tokens) of them,
// so a last block that is part empty counts in full. `memory_bytes` >= 0, `context_tokens` >= 1,
// and the layout has at least one layer. Pure.
KvCapacity PlanKvCapacity(const KvLayout& layout, int64_t memory_bytes, int32_t context_tokens);

}  // namespace quire
