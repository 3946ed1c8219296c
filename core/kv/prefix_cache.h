#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

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
// Also the order in which blocks that no table names are to be given up: the longest unused first.
// A node outlives its block in its children, under an id that is not given out again, so that what
// hangs behind a block that was given up is never found. All operations are O(1) a block. Knows no
// device and owns no blocks. Engine thread only; copyable.
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

  explicit PrefixCache(HashFunction hash = &Hash) : hash_(hash) {}

  Node Find(const Key& key) const;
  // `block` is not in here, and nothing is found by `key`.
  NodeId Insert(const Key& key, BlockId block);
  bool Contains(BlockId block) const;
  // Of a block that is in here: it is not found again. It must not be unused.
  void Erase(BlockId block);

  // The last table that named the block has let go of it, or a table names it again.
  void SetUnused(BlockId block);
  void SetUsed(BlockId block);
  // Erases and returns the block that has been unused longest; there must be one.
  BlockId EvictOldest();

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
    bool unused = false;
    uint32_t older = kNone, newer = kNone;  // among the unused
  };

  Entry& EntryOf(BlockId block);
  static bool Matches(const Entry& entry, const Key& key);

  HashFunction hash_;
  std::vector<Entry> entries_;                       // by block
  absl::flat_hash_map<uint64_t, uint32_t> by_hash_;  // to the first block of the hash
  uint32_t oldest_ = kNone, newest_ = kNone;
  NodeId last_id_ = kRoot;
  int64_t size_ = 0;
  int64_t unused_ = 0;
};

}  // namespace quire
