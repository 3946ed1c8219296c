#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/kv/kv_layout.h"

namespace quire {

// Bytes of whole blocks that a sequence of `context_tokens` >= 1 tokens holds while it decodes: in
// classes with a window no more than the window needs. Pure.
int64_t SequenceKvBytes(const KvLayouts& classes, int32_t context_tokens);

// A KV cache, cut as the allocator cuts it. Plain data.
struct KvPool {
  int64_t bytes = 0;  // whole slabs; 0 where not even one block of each class fits
  int64_t slab_bytes = 0;
  // Of each class, if it had every slab: with several, what each has depends on what runs.
  std::vector<int64_t> blocks;
};

// Bytes below which there is no KV cache. Pure.
size_t LeastKvBytes(const KvLayouts& classes);

// The KV cache that `memory_bytes` >= 0 make. Every class has at least one layer. Pure.
KvPool PlanKvPool(const KvLayouts& classes, int64_t memory_bytes);

// Bytes of the blocks that a sequence of `context_tokens` >= 1 tokens, prompt and answer together,
// is promised where it is promised all that it can ever need. `in_flight_tokens` >= 1: of one
// sequence, that the steps on their way may compute (EngineOptions::InFlightTokens); with windows
// alone it matters. Pure.
int64_t PromisedKvBytes(const KvLayouts& classes, int32_t context_tokens, int64_t in_flight_tokens);

// How many such sequences there is room for at once. Pure.
int64_t SequencesThatFit(const KvLayouts& classes, const KvPool& pool, int32_t context_tokens,
                         int64_t in_flight_tokens);

}  // namespace quire
