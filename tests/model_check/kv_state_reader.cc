#include "tests/model_check/kv_state_reader.h"

#include <map>

#include "absl/hash/hash.h"

namespace quire {

using testing::StateKey;

int32_t KvStateReader::PlaceOf(const KvCacheManager& kv, BlockId block) {
  const KvClassCache& cache = *kv.classes_[0];
  return static_cast<int32_t>(cache.OffsetOf(block) / cache.layout().BlockBytes());
}

void KvStateReader::LetHashesCollide(KvCacheManager* kv) {
  kv->classes_[0]->prefix_ = PrefixCache([](const PrefixCache::Key&) -> uint64_t { return 0; });
}

void KvStateReader::AddTo(const KvCacheManager& kv, std::span<const SequenceId> sequences,
                          StateKey* key) {
  AddSequences(kv, sequences, key);
  AddPool(kv, key);
  AddPrefix(kv, key);
}

void KvStateReader::AddSequences(const KvCacheManager& kv, std::span<const SequenceId> sequences,
                                 StateKey* key) {
  for (const SequenceId id : sequences) {
    const auto it = kv.sequences_.find(id);
    key->Add(it != kv.sequences_.end() ? 1 : 0);
    if (it == kv.sequences_.end()) continue;
    const BlockTable& table = it->second.tables[0];
    key->Add(static_cast<int64_t>(table.blocks.size()));
    for (BlockId block : table.blocks) key->AddBlock(PlaceOf(kv, block));
    key->Add(table.promised_blocks);
    key->Add(it->second.filled_tokens);
    key->Add(static_cast<int64_t>(it->second.prefix.blocks));
    key->AddNode(1, it->second.prefix.node);
    key->Add(it->second.prefix.findable ? 1 : 0);
  }
}

void KvStateReader::AddPool(const KvCacheManager& kv, StateKey* key) {
  const KvClassCache& cache = *kv.classes_[0];
  key->Add(cache.promised_blocks_);
  for (const KvClassCache::Fence& fence : cache.fences_) {
    if (!cache.Holds(fence)) continue;
    key->Add(static_cast<int64_t>(fence.step.value() - kv.completed_step_.value()));
    key->AddBlock(PlaceOf(kv, fence.block));
  }
  key->Add(cache.pool_.num_released());
  for (int32_t slot : cache.pool_.open_) {
    const BlockPool::Slab& slab = cache.pool_.slabs_[static_cast<size_t>(slot)];
    key->Add(static_cast<int64_t>(slab.free.size()));
    for (BlockId block : slab.free) key->AddBlock(PlaceOf(kv, block));
  }
  key->Add(kv.arena_->free_slabs());
}

void KvStateReader::AddPrefix(const KvCacheManager& kv, StateKey* key) {
  const KvClassCache& cache = *kv.classes_[0];
  const PrefixCache& prefix = cache.prefix_;
  key->Add(prefix.unused_);
  // In the order of all owners' together.
  std::map<uint64_t, uint32_t> unused;
  for (const PrefixCache::Owner& owner : prefix.owners_) {
    for (uint32_t block = owner.oldest; block != PrefixCache::kNone;
         block = prefix.entries_[block].newer) {
      unused.emplace(prefix.entries_[block].unused_since, block);
    }
  }
  for (const auto& [since, block] : unused) key->AddBlock(PlaceOf(kv, BlockId(block)));
  std::vector<BlockId> block_at(cache.arena_slab_.size() * cache.blocks_per_slab(), kNoBlock);
  for (uint32_t b = 0; b < block_at.size(); ++b) {
    if (cache.arena_slab_[static_cast<size_t>(cache.pool_.SlotOf(BlockId(b)))] < 0) continue;
    block_at[static_cast<size_t>(PlaceOf(kv, BlockId(b)))] = BlockId(b);
  }
  for (int32_t place : std::vector(key->blocks())) {
    const BlockId block = block_at[static_cast<size_t>(place)];
    if (block == kNoBlock) continue;  // its slab is gone: a violation
    key->Add(static_cast<int64_t>(cache.pool_.states_[block.value()]));
    key->Add(cache.pool_.references(block));
    key->Add(prefix.Contains(block) ? 1 : 0);
    if (!prefix.Contains(block)) continue;
    const PrefixCache::Entry& entry = prefix.entries_[block.value()];
    key->AddNode(1, entry.id);
    key->AddNode(1, entry.parent);
    key->Add(entry.unused ? 1 : 0);
    key->Add(static_cast<int64_t>(entry.owner.value()));
    for (char c : entry.scope) key->Add(c);
    key->Add(entry.owner.value());
    key->Add(static_cast<int64_t>(absl::HashOf(entry.tokens)));
  }
}

}  // namespace quire
