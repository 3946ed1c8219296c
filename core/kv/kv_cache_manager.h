#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "core/kv/block_pool.h"
#include "core/kv/block_table.h"
#include "core/kv/kv_layout.h"
#include "core/kv/kv_reservation.h"
#include "core/kv/kv_snapshot.h"
#include "core/kv/slab_arena.h"

namespace quire {

// How many blocks admissions may still promise. A value: planning spends a copy.
struct KvBudget {
  int64_t headroom_blocks = 0;

  bool TryTake(int64_t blocks) {
    if (blocks > headroom_blocks) return false;
    headroom_blocks -= blocks;
    return true;
  }
};

// A sequence's KV length after a planned step.
struct KvNeed {
  SequenceId sequence;
  int64_t tokens = 0;
};

// The KV blocks of one model: who holds which, who may still grow by how much, and which freed
// blocks must wait for a launched step. Invariants:
//
//   free + held + fenced == total
//   sum of promised blocks of all sequences + fenced <= total,   so Reserve() cannot fail
//
// Knows sequences by id alone. Engine thread only.
class KvCacheManager {
 public:
  // Claims every slab of the arena, which must outlive the manager.
  KvCacheManager(KvLayout layout, SlabArena* arena);
  ~KvCacheManager();
  KvCacheManager(const KvCacheManager&) = delete;
  KvCacheManager& operator=(const KvCacheManager&) = delete;

  KvBudget Budget() const { return {total_blocks() - promised_blocks_ - pool_.num_released()}; }
  int64_t total_blocks() const { return pool_.num_blocks(); }

  // Registers a sequence that will hold at most `max_tokens` tokens of KV. The caller has taken
  // BlocksFor(max_tokens) from Budget().
  void Admit(SequenceId sequence, int64_t max_tokens);

  // Grows tables so that each sequence covers its need, which must stay within its promise.
  [[nodiscard]] KvReservation Reserve(std::span<const KvNeed> needs);

  // Forgets the sequence. Its blocks are fenced until `last_launched` has completed; with every
  // launched step complete already, they are free at once.
  void Free(SequenceId sequence, StepId last_launched);
  void StepCompleted(StepId step);

  const BlockTable& Table(SequenceId sequence) const;
  const KvLayout& layout() const { return layout_; }
  // See BlockAddressing in core/plan: the start of each claimed slab in units of kKvOffsetUnit.
  std::span<const uint32_t> slab_units() const { return slab_units_; }
  uint32_t blocks_per_slab() const { return blocks_per_slab_; }
  uint32_t units_per_block() const { return units_per_block_; }

  KvSnapshot Snapshot() const;
  // Recounts everything from the tables and compares; empty when all is well.
  std::vector<std::string> CheckInvariants() const;

 private:
  friend class KvReservation;

  BlockTable& TableOf(SequenceId sequence);
  void Rollback(const KvReservation::Growth& growth);

  const KvLayout layout_;
  SlabArena* const arena_;
  std::vector<int32_t> slabs_;
  std::vector<uint32_t> slab_units_;
  uint32_t units_per_block_ = 0;
  uint32_t blocks_per_slab_ = 0;
  BlockPool pool_;
  absl::flat_hash_map<SequenceId, BlockTable> tables_;
  std::deque<std::pair<StepId, BlockId>> fenced_;  // ordered by step
  StepId completed_step_;
  int64_t promised_blocks_ = 0;
  int64_t filled_slots_ = 0;
  uint64_t allocated_total_ = 0;
  uint64_t freed_total_ = 0;
};

}  // namespace quire
