#include "core/capacity/kv_pool.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/kv/kv_budget.h"
#include "core/kv/kv_cache_manager.h"

namespace quire {
namespace {

// The last token's K and V are never computed; a sequence without any has a block all the same.
int64_t PromisedBlocks(const KvLayout& layout, int32_t context_tokens, int64_t in_flight_tokens) {
  QUIRE_CHECK(context_tokens >= 1 && in_flight_tokens >= 1);
  return layout.MostBlocks(std::max(context_tokens - 1, 1), in_flight_tokens);
}

}  // namespace

int64_t SequenceKvBytes(const KvLayouts& classes, int32_t context_tokens) {
  QUIRE_CHECK(context_tokens >= 1) << context_tokens;
  int64_t bytes = 0;
  for (const KvLayout& layout : classes) {
    bytes += layout.MostBlocks(context_tokens, 1) * static_cast<int64_t>(layout.BlockBytes());
  }
  return bytes;
}

size_t LeastKvBytes(const KvLayouts& classes) {
  size_t least = 0;
  // Each class needs a slab of its own, and all slabs hold the largest block.
  for (const KvLayout& layout : classes) {
    least = std::max(least, layout.BlockBytes() * classes.size());
  }
  return least;
}

KvPool PlanKvPool(const KvLayouts& classes, int64_t memory_bytes) {
  QUIRE_CHECK(memory_bytes >= 0) << memory_bytes;
  KvPool pool;
  pool.blocks.resize(classes.size());
  // Block offsets reach 1 TiB.
  const size_t bytes =
      std::min(static_cast<size_t>(memory_bytes), kernels::kKvOffsetUnit * UINT32_MAX);
  if (bytes < LeastKvBytes(classes)) return pool;
  const size_t slab = KvCacheManager::SlabBytes(classes, bytes);
  pool.slab_bytes = static_cast<int64_t>(slab);
  pool.bytes = static_cast<int64_t>(bytes / slab * slab);
  for (size_t c = 0; c < classes.size(); ++c) {
    pool.blocks[c] = static_cast<int64_t>(bytes / slab * (slab / classes[c].BlockBytes()));
  }
  return pool;
}

int64_t PromisedKvBytes(const KvLayouts& classes, int32_t context_tokens,
                        int64_t in_flight_tokens) {
  int64_t bytes = 0;
  for (const KvLayout& layout : classes) {
    bytes += PromisedBlocks(layout, context_tokens, in_flight_tokens) *
             static_cast<int64_t>(layout.BlockBytes());
  }
  return bytes;
}

int64_t SequencesThatFit(const KvLayouts& classes, const KvPool& pool, int32_t context_tokens,
                         int64_t in_flight_tokens) {
  if (pool.bytes == 0) return 0;
  KvBudget budget;
  budget.num_classes = static_cast<int32_t>(classes.size());
  budget.total_slabs = static_cast<int32_t>(pool.bytes / pool.slab_bytes);
  for (size_t c = 0; c < classes.size(); ++c) {
    budget.classes[c].blocks_per_slab =
        static_cast<int32_t>(static_cast<size_t>(pool.slab_bytes) / classes[c].BlockBytes());
  }
  int64_t fit = 0;
  int64_t too_many = pool.bytes / PromisedKvBytes(classes, context_tokens, in_flight_tokens) + 1;
  while (fit + 1 < too_many) {
    const int64_t sequences = fit + (too_many - fit) / 2;
    for (size_t c = 0; c < classes.size(); ++c) {
      budget.classes[c].spoken_for =
          sequences * PromisedBlocks(classes[c], context_tokens, in_flight_tokens);
    }
    (budget.SlabsNeeded() <= budget.total_slabs ? fit : too_many) = sequences;
  }
  return fit;
}

}  // namespace quire
