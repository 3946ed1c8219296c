#include "core/capacity/capacity_planner.h"

#include "core/base/check.h"

namespace quire {

KvCapacity PlanKvCapacity(const KvLayout& layout, int64_t memory_bytes, int32_t context_tokens) {
  QUIRE_CHECK(memory_bytes >= 0) << memory_bytes;
  QUIRE_CHECK(context_tokens >= 1) << context_tokens;
  const auto block_bytes = static_cast<int64_t>(layout.BlockBytes());
  QUIRE_CHECK(block_bytes > 0) << "a layout without layers";
  KvCapacity capacity;
  capacity.blocks = memory_bytes / block_bytes;
  capacity.tokens = capacity.blocks * layout.block_tokens;
  capacity.sequences = capacity.blocks / layout.BlocksFor(context_tokens);
  return capacity;
}

}  // namespace quire
