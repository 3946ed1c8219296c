#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/ids.h"

namespace quire {

using Vocabulary = std::vector<std::pair<std::string, TokenId>>;     // token as spelled in the file
using MergeList = std::vector<std::pair<std::string, std::string>>;  // earlier merges go first

// Byte-level byte-pair encoding (Sennrich et al., 2016) of one piece of text: the adjacent pair
// with the lowest rank is merged, leftmost first, until no pair has a rank. O(n log n).
// Immutable, so any thread may use it, each with a Scratch of its own.
class BpeModel {
 public:
  // Working memory of Encode, kept between calls to avoid allocation.
  struct Scratch {
    struct Symbol {
      TokenId id;  // kRemoved once it is part of the symbol to its left
      int32_t previous;
      int32_t next;
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> queue;  // min-heap of rank << 32 | position
  };

  // InvalidArgument where a merge names a token that is not in `vocabulary`, or where a byte of
  // UTF-8 has no token. With `ignore_merges` a piece that is a token becomes it directly.
  static absl::StatusOr<BpeModel> Build(const Vocabulary& vocabulary, const MergeList& merges,
                                        bool ignore_merges);

  // Appends the ids of `piece` (well-formed UTF-8 of less than 2 GiB) to `ids`.
  void Encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;

 private:
  struct Merge {
    uint32_t rank;
    TokenId id;
  };
  struct Word {
    TokenId id;
    bool is_its_own_encoding;
  };

  absl::Status AddVocabulary(const Vocabulary& vocabulary);
  absl::Status AddMerges(const Vocabulary& vocabulary, const MergeList& merges);
  void FindDirectWords(bool ignore_merges);
  const Merge* FindMerge(const Scratch& scratch, int32_t position) const;
  void Push(Scratch& scratch, int32_t position) const;
  void ApplyMerges(std::string_view piece, Scratch& scratch) const;

  absl::flat_hash_map<std::string, Word> words_;  // keyed by the bytes that a token spells
  absl::flat_hash_map<uint64_t, Merge> merges_;   // keyed by left id << 32 | right id
  std::array<TokenId, 256> byte_ids_{};
};

}  // namespace quire
