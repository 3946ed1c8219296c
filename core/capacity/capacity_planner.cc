#include "core/capacity/capacity_planner.h"

#include "core/base/check.h"

namespace quire {

int64_t SequenceKvBytes(const KvLayouts& classes, int32_t context_tokens) {
  QUIRE_CHECK(context_tokens >= 1) << context_tokens;
  int64_t bytes = 0;
  for (const KvLayout& layout : classes) {
    bytes += layout.MostBlocks(context_tokens, 1) * static_cast<int64_t>(layout.BlockBytes());
  }
  return bytes;
}

KvCapacity PlanKvCapacity(const KvLayouts& classes, int64_t memory_bytes, int32_t context_tokens) {
  QUIRE_CHECK(memory_bytes >= 0) << memory_bytes;
  const int64_t sequence_bytes = SequenceKvBytes(classes, context_tokens);
  QUIRE_CHECK(sequence_bytes > 0) << "a layout without layers";
  KvCapacity capacity;
  capacity.sequences = memory_bytes / sequence_bytes;
  if (classes.size() == 1) {
    capacity.blocks = memory_bytes / static_cast<int64_t>(classes[0].BlockBytes());
    capacity.tokens = capacity.blocks * classes[0].block_tokens;
  }
  return capacity;
}

}  // namespace quire
