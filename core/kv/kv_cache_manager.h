#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "core/base/ids.h"
#include "core/kv/block_swapper.h"
#include "core/kv/block_table.h"
#include "core/kv/kv_budget.h"
#include "core/kv/kv_class_cache.h"
#include "core/kv/kv_layout.h"
#include "core/kv/kv_reservation.h"
#include "core/kv/kv_snapshot.h"
#include "core/kv/prefix_cache.h"
#include "core/kv/slab_arena.h"

namespace quire {

// A sequence's KV length after a planned step.
struct KvNeed {
  SequenceId sequence;
  int64_t tokens = 0;
};

// Of one tenant's computed prefixes that no sequence uses at the moment, in bytes.
struct PrefixQuota {
  int64_t floor_bytes = 0;    // are not given up for other tenants
  int64_t ceiling_bytes = 0;  // no more are kept; 0: without limit
};
struct PrefixUse {
  int64_t unused_bytes = 0;
  uint64_t lost_blocks = 0;   // given up for other tenants
  uint64_t taken_blocks = 0;  // of other tenants, given up for this one
};

// The KV blocks of one model: who holds which, who may still grow by how much, and which freed
// blocks must wait for a launched step or for a copy. In every cache class
//
//   free + held + fenced + cached == total
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
  // `fenced` false: as it will be once no step or copy holds on to freed blocks any more.
  KvBudget Budget(bool fenced = true) const;
  // Whether steps or copies hold on to freed blocks.
  bool HasFenced() const;
  // As it is when nothing is promised, kept or on its way. A constant of the manager.
  KvBudget EmptyBudget() const;
  // Of blocks, in bytes; of the whole cache, as far as it can be promised.
  int64_t BytesOf(const KvBlockCounts& blocks) const;
  int64_t TotalBytes() const { return EmptyBudget().FreeBytes(); }

  // Registers a sequence that will hold at most `max_tokens` tokens of KV. The caller has taken
  // PromiseFor(max_tokens) from Budget().
  void Admit(SequenceId sequence, int64_t max_tokens);
  // Promises an admitted sequence that it may hold up to `max_tokens` tokens of KV. The caller has
  // taken MorePromised() from Budget().
  void Extend(SequenceId sequence, int64_t max_tokens);
  KvBlockCounts MorePromised(SequenceId sequence, int64_t max_tokens) const;
  // Grows tables so that each sequence covers its need, which must stay within its promise and not
  // fall behind what is filled. The device's compute waits for those that have not arrived.
  [[nodiscard]] KvReservation Reserve(std::span<const KvNeed> needs);
  // The step that computed the sequence's positions up to `kv_len` has completed: blocks that lie
  // behind a window for all later positions are free.
  void Pass(SequenceId sequence, int64_t kv_len);
  // Forgets the sequence. Its blocks are fenced until `last_launched` has completed; with every
  // launched step complete already, they are free at once.
  void Free(SequenceId sequence, StepId last_launched);
  void StepCompleted(StepId step);

  // Prefix caching (kv_cache_prefix.cc), once it is on: a promise covers shared blocks in full. It
  // takes a model all of whose layers see everything: false, and it stays off, for others.
  bool EnablePrefixCache();
  // For a sequence that was just admitted: names the blocks that hold the beginning of `prompt`,
  // but for its last token. Returns how many of its tokens are found, a multiple of a block's.
  // `scope` keeps sequences apart that may not know of each other's tokens. What the sequence
  // publishes is `tenant`'s.
  int64_t SharePrefix(SequenceId sequence, std::span<const TokenId> prompt, absl::string_view scope,
                      TenantId tenant = TenantId());
  // How many of its tokens SharePrefix() would find. Changes nothing.
  int64_t FindPrefix(std::span<const TokenId> prompt, absl::string_view scope) const;
  // How many of the sequence's first tokens can be found by others.
  int64_t PublishedTokens(SequenceId sequence) const;
  // In which scope others find what the sequence computes; empty where they do not.
  absl::string_view PublishedScope(SequenceId sequence) const;
  // Prefixes are found in multiples of so many tokens; 0: not at all.
  int64_t PrefixBlockTokens() const {
    return prefix_cache_ ? classes_[0]->layout().block_tokens : 0;
  }
  // Completed steps have computed the KV of `tokens`, the sequence's first ones: full blocks of
  // them can be found, unless the sequence was forgotten or swapped out.
  void Publish(SequenceId sequence, std::span<const TokenId> tokens);
  // By TenantId. Floors that were raised take effect as memory is freed.
  void SetPrefixQuotas(std::span<const PrefixQuota> quotas);
  PrefixUse PrefixUseOf(TenantId tenant) const;
  // What floors protect at most.
  int64_t FloorBytes() const;
  // Nothing that was computed so far, for one tenant or for all, is found again.
  void FlushPrefixes(std::optional<TenantId> tenant);
  // Nothing that the sequence holds is to be found, now or later.
  void ForgetPrefix(SequenceId sequence);

  // Swapping, once there is a swapper (kv_cache_swap.cc). A sequence that is out holds host slots
  // and neither blocks nor a promise; Pass(), Publish(), ForgetPrefix() and Free() take it as well,
  // nothing else does.
  void SetSwapper(std::unique_ptr<BlockSwapper> swapper);
  bool CanSwap() const { return swapper_ != nullptr; }
  // Copies the sequence's blocks to host memory. They are fenced until `last_launched`, the newest
  // step of all, has completed and they are copied. False, and nothing has changed, where the host
  // has no room, the sequence has not arrived from the host itself, or its beginning is others',
  // too: it may be recomputed. Not while a reservation is open. What it has published is not found
  // again until it is back and a step of it has completed.
  [[nodiscard]] bool SwapOut(SequenceId sequence, StepId last_launched);
  // What SwapOut would copy.
  int64_t HeldBytes(SequenceId sequence) const;
  // Of a sequence that is out: what SwapIn promises it, as its admission did.
  KvBlockCounts SwappedPromise(SequenceId sequence) const;
  // Whether the steps that were launched before SwapOut have completed.
  bool CanSwapIn(SequenceId sequence) const;
  // Takes new blocks and copies the sequence's KV back, once CanSwapIn() and those steps are
  // passed. The caller has taken the promise from Budget(). It may be in the next step, at the
  // price of that step waiting for the copies.
  void SwapIn(SequenceId sequence);
  bool HasArrived(SequenceId sequence) const;
  // Looks which copies have ended, as StepCompleted does, too. False where none has.
  bool TakeTransfers();
  // For when there is nothing else to do: blocks until a copy has ended. False where none is left.
  bool WaitForTransfer();
  const BlockSwapper* swapper() const { return swapper_.get(); }

  size_t num_classes() const { return classes_.size(); }
  const KvClassCache& cache_class(size_t index) const { return *classes_[index]; }
  const BlockTable& Table(SequenceId sequence, size_t cache_class = 0) const;
  KvSnapshot Snapshot() const;
  // Recounts everything from the tables and compares; empty when all is well.
  std::vector<std::string> CheckInvariants() const;

 private:
  friend class KvStateReader;  // of tests/model_check
  friend class KvReservation;
  // How far the sequence's blocks are nodes of the prefix cache, or have such for a twin.
  struct PrefixCursor {
    std::string scope;
    size_t blocks = 0;
    PrefixCache::NodeId node = PrefixCache::kRoot;  // of the last of them
    bool findable = false;  // whether what it computes may be found by others

    PrefixCache::Key KeyOf(std::span<const TokenId> tokens) const {
      return {node, blocks == 0 ? absl::string_view(scope) : absl::string_view(), tokens};
    }
    void Advance(PrefixCache::NodeId next) {
      node = next;
      ++blocks;
    }
  };
  struct SequenceKv {
    std::array<BlockTable, kernels::kMaxCacheClasses> tables;
    int64_t filled_tokens = 0;        // positions written by launched steps
    std::vector<SwapBlock> arriving;  // copies in, until they are seen to have ended
    TenantId tenant;
    PrefixCursor prefix;
    bool began_found = false;  // its beginning was found
  };
  struct SwappedKv {
    TenantId tenant;
    std::string scope;      // of what it computes from now on
    bool findable = false;  // as PrefixCursor::findable
    std::array<std::vector<SwapBlock>, kernels::kMaxCacheClasses> blocks;  // in order
    std::array<int32_t, kernels::kMaxCacheClasses> passed_blocks{};        // before those
    KvBlockCounts promise{};
    int64_t filled_tokens = 0;
    StepId last_launched;
  };

  SequenceKv& KvOf(SequenceId sequence);
  const SequenceKv& KvOf(SequenceId sequence) const;
  // Follows `prompt`, but for its last token, whose logits somebody asks for, as far as its blocks
  // are found.
  template <typename Visit>
  void FollowPrefix(std::span<const TokenId> prompt, PrefixCursor* cursor, Visit visit) const;
  const SwappedKv& SwappedOf(SequenceId sequence) const;
  int64_t FilledSlots(const SequenceKv& kv, size_t cache_class) const;
  void AwaitArrival(SequenceKv* kv);
  void PassSwapped(SwappedKv* kv, int64_t kv_len);
  void FreeSwapped(SequenceId sequence);
  void FreeArriving(SequenceKv* kv, StepId last_launched);
  void Rollback(const KvReservation::Growth& growth);

  SlabArena* const arena_;
  std::vector<std::unique_ptr<KvClassCache>> classes_;
  absl::flat_hash_map<SequenceId, SequenceKv> sequences_;
  std::unique_ptr<BlockSwapper> swapper_;
  absl::flat_hash_map<SequenceId, SwappedKv> swapped_;
  std::array<int64_t, kernels::kMaxCacheClasses> filled_slots_{};
  StepId completed_step_;
  bool prefix_cache_ = false;
  uint64_t prefix_queried_tokens_ = 0;
  uint64_t prefix_hit_tokens_ = 0;
};

}  // namespace quire
