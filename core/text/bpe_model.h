#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/text/bpe_merges.h"
#include "core/text/code_point_map.h"
#include "core/text/join_filter.h"

namespace quire {

using Vocabulary = std::vector<std::pair<std::string, TokenId>>;     // token as spelled in the file
using MergeList = std::vector<std::pair<std::string, std::string>>;  // earlier merges go first

struct BpeSpec {
  Vocabulary vocabulary;
  MergeList merges;
  // Of the merges, lower ones go first and equal ones leftmost first. Empty: 0, 1, 2, ...
  std::vector<uint32_t> merge_ranks;
  absl::flat_hash_set<TokenId> special;  // no merge makes them, nor ignore_merges
  bool ignore_merges = false;            // a piece that is a token becomes it directly
  bool byte_level = false;  // tokens are spelled in the byte alphabet; merges start from bytes
  // The rest is for models that start from code points. What becomes of one without a token: its
  // bytes' tokens <0x00> to <0xFF>, else the unknown token, else nothing.
  bool byte_fallback = false;
  std::optional<std::string> unk_token;
  bool fuse_unk = false;  // a run of unknown code points is one token
};

// Byte-pair encoding of one piece of text. Immutable, so any thread may use it, each with a Scratch
// of its own.
class BpeModel {
 public:
  // Working memory of Encode, kept between calls to avoid allocation.
  struct Scratch {
    std::vector<TokenId> symbols;
    BpeMerges::Scratch merges;
  };

  // InvalidArgument where a merge or unk_token names a token that is not in the vocabulary, or
  // where a byte-level vocabulary lacks a byte of UTF-8.
  static absl::StatusOr<BpeModel> Build(const BpeSpec& spec);

  // Appends the ids of `piece` (well-formed UTF-8 of less than 2 GiB) to `ids`. O(n log n).
  void Encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;

 private:
  struct Word {
    TokenId id;
    bool is_its_own_encoding;
  };

  absl::Status AddByteLevelTokens(const Vocabulary& vocabulary);
  absl::Status AddTokens(const BpeSpec& spec);
  absl::Status AddMerges(const BpeSpec& spec);
  void AddJoins(const BpeSpec& spec);
  void FindDirectWords();

  const Word* FindWord(std::string_view text) const;
  bool IsEncodable(std::string_view bytes) const;
  void EncodeChunk(std::string_view chunk, Scratch& scratch, std::vector<TokenId>& ids) const;
  void MergeChunk(std::string_view chunk, Scratch& scratch) const;
  void AppendCodePointSymbols(std::string_view chunk, std::vector<TokenId>& symbols) const;
  bool AppendByteTokens(std::string_view code_point, std::vector<TokenId>& symbols) const;

  bool byte_level_ = false;
  bool ignore_merges_ = false;
  bool fuse_unk_ = false;
  TokenId unk_id_ = CodePointMap::kNone;
  size_t longest_word_ = 0;                       // bytes
  absl::flat_hash_map<std::string, Word> words_;  // keyed by the bytes that a token spells
  std::array<TokenId, 256> byte_ids_{};           // of bytes, byte-level or as fallback
  CodePointMap code_point_ids_;
  JoinFilter joins_;
  BpeMerges merges_;
};

}  // namespace quire
