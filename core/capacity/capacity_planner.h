#pragma once

#include <cstdint>

#include "core/kv/kv_layout.h"

namespace quire {

// Bytes of whole blocks that a sequence of `context_tokens` >= 1 tokens holds while it decodes: in
// classes with a window no more than the window needs. Pure.
int64_t SequenceKvBytes(const KvLayouts& classes, int32_t context_tokens);

// What a piece of memory holds when it is cut into the blocks of a model. Plain data.
struct KvCapacity {
  int64_t sequences = 0;  // that fit at once, each of the context length asked for
  // Where there is one cache class; with several, how many blocks each has depends on what runs.
  int64_t blocks = 0;
  int64_t tokens = 0;  // slots of those blocks
};

// Counts whole blocks, as the allocator does. `memory_bytes` >= 0, and every class has at least one
// layer. Pure.
KvCapacity PlanKvCapacity(const KvLayouts& classes, int64_t memory_bytes, int32_t context_tokens);

}  // namespace quire
