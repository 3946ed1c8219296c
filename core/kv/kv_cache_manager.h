#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "core/kv/block_table.h"
#include "core/kv/kv_budget.h"
#include "core/kv/kv_class_cache.h"
#include "core/kv/kv_layout.h"
#include "core/kv/kv_reservation.h"
#include "core/kv/kv_snapshot.h"
#include "core/kv/slab_arena.h"

namespace quire {

// A sequence's KV length after a planned step.
struct KvNeed {
  SequenceId sequence;
  int64_t tokens = 0;
};

// The KV blocks of one model: who holds which, who may still grow by how much, and which freed
// blocks must wait for a launched step. In every cache class
//
//   free + held + fenced == total
//
// and what KvBudget states about promises holds, so Reserve() cannot fail.
// Knows sequences by id alone. Engine thread only, except for the constants.
class KvCacheManager {
 public:
  // A slab size for an arena of `arena_bytes` that all classes share.
  static size_t SlabBytes(const KvLayouts& classes, size_t arena_bytes);

  // Cuts the whole arena, which must outlive the manager. At most kMaxCacheClasses classes.
  // `in_flight_tokens`: how many tokens of one sequence the steps on their way compute at most.
  KvCacheManager(KvLayouts classes, SlabArena* arena, int64_t in_flight_tokens);
  ~KvCacheManager();
  KvCacheManager(const KvCacheManager&) = delete;
  KvCacheManager& operator=(const KvCacheManager&) = delete;

  // What a sequence of up to `tokens` tokens of KV must be promised. A constant of the manager.
  KvBlockCounts PromiseFor(int64_t tokens) const;
  // The longest sequence that an empty cache holds, up to `limit`. A constant of the manager.
  int64_t LongestSequence(int64_t limit) const;
  KvBudget Budget() const;

  // Registers a sequence that will hold at most `max_tokens` tokens of KV. The caller has taken
  // PromiseFor(max_tokens) from Budget().
  void Admit(SequenceId sequence, int64_t max_tokens);
  // Grows tables so that each sequence covers its need, which must stay within its promise and not
  // fall behind what is filled.
  [[nodiscard]] KvReservation Reserve(std::span<const KvNeed> needs);
  // The step that computed the sequence's positions up to `kv_len` has completed: blocks that lie
  // behind a window for all later positions are free.
  void Pass(SequenceId sequence, int64_t kv_len);
  // Forgets the sequence. Its blocks are fenced until `last_launched` has completed; with every
  // launched step complete already, they are free at once.
  void Free(SequenceId sequence, StepId last_launched);
  void StepCompleted(StepId step);

  size_t num_classes() const { return classes_.size(); }
  const KvClassCache& cache_class(size_t index) const { return *classes_[index]; }
  const BlockTable& Table(SequenceId sequence, size_t cache_class = 0) const;
  KvSnapshot Snapshot() const;
  // Recounts everything from the tables and compares; empty when all is well.
  std::vector<std::string> CheckInvariants() const;

 private:
  friend class KvReservation;
  struct SequenceKv {
    std::array<BlockTable, kernels::kMaxCacheClasses> tables;
    int64_t filled_tokens = 0;  // positions written by launched steps
  };

  SequenceKv& KvOf(SequenceId sequence);
  const SequenceKv& KvOf(SequenceId sequence) const;
  void Rollback(const KvReservation::Growth& growth);

  SlabArena* const arena_;
  std::vector<std::unique_ptr<KvClassCache>> classes_;
  absl::flat_hash_map<SequenceId, SequenceKv> sequences_;
  std::array<int64_t, kernels::kMaxCacheClasses> filled_slots_{};
  StepId completed_step_;
};

}  // namespace quire
