#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "core/kv/block_pool.h"
#include "core/kv/block_table.h"
#include "core/kv/kv_budget.h"
#include "core/kv/kv_layout.h"
#include "core/kv/kv_snapshot.h"
#include "core/kv/prefix_cache.h"
#include "core/kv/slab_arena.h"

namespace quire {

// The blocks of one cache class: grows and shrinks tables that the KvCacheManager keeps, claims a
// slab when all of its own are full and returns one as soon as it is empty, and holds freed blocks
// back until the steps and copies that may touch them have completed. Blocks that can be found by
// their tokens stay when no table names them, until there is no other block to grow by. Engine
// thread only.
class KvClassCache {
 public:
  // `in_flight_tokens`: how many tokens of one sequence the steps on their way may compute. The
  // arena must outlive the cache.
  KvClassCache(KvLayout layout, SlabArena* arena, int64_t in_flight_tokens);
  ~KvClassCache();
  KvClassCache(KvClassCache&&) = delete;

  int32_t MostBlocks(int64_t tokens) const { return layout_.MostBlocks(tokens, in_flight_tokens_); }
  void Promise(int32_t blocks) { promised_blocks_ += blocks; }
  // Appends blocks until `table`, of `tenant`, covers `tokens`; they must have been promised.
  void Grow(BlockTable* table, int64_t tokens, TenantId tenant);
  // Takes back what Grow() appended beyond `entries`; no launched step has seen it.
  void Shrink(BlockTable* table, size_t entries);
  // Every step that computes positions below `kv_len` has completed: gives up the blocks that no
  // later position sees.
  void Pass(BlockTable* table, int64_t kv_len);
  // Lets go of the table's blocks and its promise; they are free once `last_launched` completed.
  void Release(const BlockTable& table, StepId last_launched);
  void StepCompleted(StepId step);

  // Lets go of one block of a table, without its promise: it is free once `last_launched` completed
  // and `transfer`, which may be copying it, has ended.
  void Leave(BlockId block, StepId last_launched, TransferId transfer);
  // Steps up to `completed` have completed. Of no consequence for a block that has not left.
  void TransferEnded(BlockId block, TransferId transfer, StepId completed);

  // Prefixes (kv_cache_prefix.cc). Share: one more table names a block that was found.
  void Share(BlockTable* table, BlockId block);
  // From now on `block`, of a table, is found by the key.
  PrefixCache::NodeId Publish(const PrefixCache::Key& key, BlockId block, TenantId owner);
  void SetPrefixQuotas(std::vector<PrefixCache::Quota> quotas);
  // Of one tenant or of all: nothing that was published is found again.
  void FlushPrefixes(std::optional<TenantId> owner);
  const PrefixCache& prefixes() const { return prefix_; }
  void ForgetPrefix(const BlockTable& table);
  int64_t num_references() const { return pool_.num_references(); }
  int64_t num_fenced() const { return pool_.num_released(); }
  bool IsShared(const BlockTable& table) const;  // with another table, in some block

  // Of a block, from the start of the arena, in bytes.
  size_t OffsetOf(BlockId block) const;
  const KvLayout& layout() const { return layout_; }
  KvBudget::Class Budget(bool fenced = true) const;  // whether fenced blocks count
  KvClassSnapshot Snapshot() const;

  // See BlockAddressing in core/plan: where the slab in each slot starts, in kKvOffsetUnit.
  std::span<const uint32_t> slab_units() const { return slab_units_; }
  uint32_t blocks_per_slab() const { return static_cast<uint32_t>(pool_.blocks_per_slab()); }
  uint32_t units_per_block() const { return units_per_block_; }

  // Recounts from the tables of all sequences and appends what does not agree.
  void CheckInvariants(std::span<const BlockTable* const> tables,
                       std::vector<std::string>* violations) const;

 private:
  friend class KvStateReader;  // of tests/model_check
  struct Leaving {
    StepId step;
    TransferId transfer;
  };

  // Holds a released block back until `step` has completed.
  struct Fence {
    StepId step;
    BlockId block;
    uint64_t number = 0;
  };

  // False where the block has been shared since.
  bool Holds(const Fence& fence) const { return fence_of_[fence.block.value()] == fence.number; }
  bool ClaimSlab();
  void LetGo(BlockId block);
  void Evicted(BlockId block);
  void FreeBlock(BlockId block);

  const KvLayout layout_;
  SlabArena* const arena_;
  const int64_t in_flight_tokens_;
  BlockPool pool_;
  std::vector<int32_t> arena_slab_;   // by slot
  std::vector<uint32_t> slab_units_;  // by slot
  uint32_t units_per_block_ = 0;
  PrefixCache prefix_;
  std::deque<Fence> fences_;        // ordered by step
  std::vector<uint64_t> fence_of_;  // by block: the number of the fence that holds it, or 0
  uint64_t last_fence_ = 0;
  absl::flat_hash_map<BlockId, Leaving> leaving_;  // released, too: until their transfer has ended
  int64_t promised_blocks_ = 0;
  uint64_t allocated_total_ = 0;
  uint64_t freed_total_ = 0;
  uint64_t evicted_total_ = 0;
};

}  // namespace quire
