#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"

namespace quire {

// The merge table of byte-pair encoding (Sennrich et al., 2016). Immutable once filled, so any
// thread may use it, each with a Scratch of its own.
class BpeMerges {
 public:
  // Working memory of Apply, kept between calls to avoid allocation.
  struct Scratch {
    struct Symbol {
      TokenId id;  // kRemoved once it is part of the symbol to its left
      int32_t previous;
      int32_t next;
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> queue;  // min-heap of rank << 32 | position
  };

  void Reserve(size_t count) { merges_.reserve(count); }
  // Lower ranks go first. Of a pair that is added twice the last counts.
  void Add(TokenId left, TokenId right, uint32_t rank, TokenId merged);

  // Merges in place the adjacent pair with the lowest rank, leftmost first, until no pair has a
  // rank. O(n log n); fewer than 2^31 ids, none negative.
  void Apply(std::vector<TokenId>& ids, Scratch& scratch) const;

 private:
  struct Merge {
    uint32_t rank;
    TokenId id;
  };

  const Merge* Find(TokenId left, TokenId right) const;
  void ApplyToFew(std::vector<TokenId>& ids) const;
  void ApplyToMany(std::vector<TokenId>& ids, Scratch& scratch) const;
  const Merge* FindAt(const Scratch& scratch, int32_t position) const;
  void Push(Scratch& scratch, int32_t position) const;
  void MergeSymbols(Scratch& scratch, int32_t position, TokenId merged) const;

  absl::flat_hash_map<uint64_t, Merge> merges_;  // keyed by left id << 32 | right id
};

}  // namespace quire
