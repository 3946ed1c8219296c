#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "core/base/ids.h"

namespace quire {

// Which blocks hold the KV of which tokens, so that a sequence which begins with them need not
// compute them again. A block is a node of a tree: found by the node before it and by its own
// tokens, and without one before it by its scope, which is what keeps those apart who may not know
// of each other. A hash finds the candidates, comparing decides: a collision is a miss. Only full
// blocks are in it, since those are never written again.
//
// Also the order in which blocks that no table names are to be given up: the longest unused first,
// but none of what a tenant's floor protects, as long as there is another. A block is its tenant's
// who published it.
//
// A node outlives its block in its children, under an id that is not given out again, so that what
// hangs behind a block that was given up is never found. All operations are O(log tenants) a block.
// Knows no device and owns no blocks. Engine thread only; copyable.
class PrefixCache {
 public:
  using NodeId = uint64_t;
  static constexpr NodeId kRoot = 0;
  // What a block is found by. `scope` is empty but behind the root.
  struct Key {
    NodeId parent = kRoot;
    absl::string_view scope;
    std::span<const TokenId> tokens;
  };
  struct Node {
    NodeId id = kRoot;  // kRoot: not found
    BlockId block;
  };
  using HashFunction = uint64_t (*)(const Key&);
  // Of one tenant's blocks that no table names.
  struct Quota {
    int64_t floor = 0;                                      // so many are protected from others
    int64_t ceiling = std::numeric_limits<int64_t>::max();  // no more are to be kept
  };
  struct Use {
    int64_t unused = 0;
    uint64_t lost = 0;   // given up for others
    uint64_t taken = 0;  // of others, given up for it
  };

  explicit PrefixCache(HashFunction hash = &Hash) : hash_(hash) {}

  Node Find(const Key& key) const;
  // `block` is not in here, and nothing is found by `key`.
  NodeId Insert(const Key& key, BlockId block, TenantId owner = TenantId());
  bool Contains(BlockId block) const;
  // Of a block that is in here: it is not found again. It must not be unused.
  void Erase(BlockId block);

  // The last table that named the block has let go of it, or a table names it again.
  void SetUnused(BlockId block);
  void SetUsed(BlockId block);
  // Erases and returns the block that is to be given up first, for `taker`; one must be unused.
  BlockId EvictOldest(TenantId taker = TenantId());

  // By TenantId; tenants beyond have none.
  void SetQuotas(std::vector<Quota> quotas);
  // Erases and returns a block of the owner's beyond its ceiling, the longest unused first.
  std::optional<BlockId> EvictBeyondCeiling(TenantId id);
  // The same for all that are unused, of one owner or of all, and erases what is in use, too.
  std::vector<BlockId> Flush(std::optional<TenantId> owner);
  TenantId OwnerOf(BlockId block) const { return entries_.at(block.value()).owner; }
  Use UseOf(TenantId owner) const;
  // Unused blocks that floors protect, and how many they would at most.
  int64_t protected_blocks() const { return protected_; }
  int64_t floor_blocks() const { return floors_; }

  int64_t size() const { return size_; }
  int64_t unused() const { return unused_; }
  // Recounts and compares; empty when all is well.
  std::vector<std::string> CheckInvariants() const;

  static uint64_t Hash(const Key& key);

 private:
  friend class KvStateReader;  // of tests/model_check
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  struct Entry {
    NodeId id = kRoot;  // kRoot: the block is not in here
    NodeId parent = kRoot;
    uint64_t hash = 0;
    std::string scope;
    std::vector<TokenId> tokens;
    uint32_t next_of_hash = kNone;
    TenantId owner;
    bool unused = false;
    uint64_t unused_since = 0;
    uint32_t older = kNone, newer = kNone;  // among the owner's unused ones
  };
  struct Owner {
    Quota quota;
    Use use;
    uint32_t oldest = kNone, newest = kNone;

    int64_t Protected() const { return std::min(use.unused, quota.floor); }
  };

  Owner& OwnerAt(TenantId owner);
  // What is ordered by the owner is taken out before it changes, and put back after.
  void TakeOut(TenantId id);
  void PutBack(TenantId id);
  BlockId Evict(uint32_t block);

  Entry& EntryOf(BlockId block);
  static bool Matches(const Entry& entry, const Key& key);

  HashFunction hash_;
  std::vector<Entry> entries_;                       // by block
  absl::flat_hash_map<uint64_t, uint32_t> by_hash_;  // to the first block of the hash
  std::vector<Owner> owners_;                        // by TenantId
  // The owners with unused blocks beyond their floor, and with others: by their oldest one.
  absl::btree_set<std::pair<uint64_t, TenantId>> above_floor_, within_floor_;
  uint64_t last_unused_ = 0;
  int64_t protected_ = 0;
  int64_t floors_ = 0;
  NodeId last_id_ = kRoot;
  int64_t size_ = 0;
  int64_t unused_ = 0;
};

}  // namespace quire
