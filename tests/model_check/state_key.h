#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace quire::testing {

// Collects the numbers that describe a state. Names that mean nothing by themselves are replaced by
// the order in which they are first added: two states that differ in them alone get one digest.
// That is sound for
//
//   blocks   allocation goes by their places in stacks and lists, never by their numbers. Slabs
//            that nobody has claimed are alike, and so are the blocks of a slab until one is taken:
//            which of them is the lowest has no consequence.
//   nodes    ids of prefix nodes are compared for equality only
class StateKey {
 public:
  using Digest = std::array<uint64_t, 2>;

  // `block` names are renamed slab by slab.
  explicit StateKey(int32_t blocks_per_slab) : blocks_per_slab_(blocks_per_slab) {}

  void Add(int64_t value) { values_.push_back(value); }
  void AddBlock(int32_t block) {
    Add(slabs_.try_emplace(block / blocks_per_slab_, slabs_.size()).first->second);
    const auto [name, is_new] = names_.try_emplace(block, blocks_.size());
    if (is_new) blocks_.push_back(block);
    Add(name->second);
  }
  // Those that have been added, in that order.
  const std::vector<int32_t>& blocks() const { return blocks_; }
  // `kind` keeps ids of different origins apart.
  void AddNode(int32_t kind, uint64_t id) {
    Add(nodes_.try_emplace(std::pair(kind, id), nodes_.size()).first->second);
  }

  Digest digest() const;

 private:
  int32_t blocks_per_slab_;
  std::vector<int64_t> values_;
  std::vector<int32_t> blocks_;
  absl::flat_hash_map<int32_t, int64_t> slabs_, names_;
  absl::flat_hash_map<std::pair<int32_t, uint64_t>, int64_t> nodes_;
};

}  // namespace quire::testing
