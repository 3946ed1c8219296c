#include "core/kv/kv_budget.h"

#include <algorithm>

namespace quire {

int64_t KvBudget::SlabsNeeded() const {
  int64_t slabs = 0;
  for (int32_t c = 0; c < num_classes; ++c) {
    const Class& k = classes[static_cast<size_t>(c)];
    const int64_t spoken =
        (k.spoken_for + k.protected_blocks + k.blocks_per_slab - 1) / k.blocks_per_slab;
    slabs += std::max<int64_t>(k.claimed_slabs, spoken);
  }
  return slabs;
}

int64_t KvBudget::FreeBytes() const {
  if (num_classes != 1) return FreeSlabs() * slab_bytes;
  const Class& k = classes[0];
  return (int64_t{total_slabs} * k.blocks_per_slab - k.spoken_for - k.protected_blocks) *
         k.block_bytes;
}

KvBudget KvBudget::PassingFloors() const {
  KvBudget budget = *this;
  for (Class& k : budget.classes) k.protected_blocks = 0;
  return budget;
}

bool KvBudget::TryTake(const KvBlockCounts& blocks) {
  KvBudget after = *this;
  for (size_t c = 0; c < blocks.size(); ++c) after.classes[c].spoken_for += blocks[c];
  if (after.SlabsNeeded() > total_slabs) return false;
  *this = after;
  return true;
}

}  // namespace quire
