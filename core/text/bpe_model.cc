#include "core/text/bpe_model.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/text/byte_alphabet.h"
#include "core/text/quoted.h"

namespace quire {
namespace {

constexpr TokenId kRemoved = -1;
constexpr TokenId kNoToken = -1;
constexpr int32_t kEnd = -1;

uint64_t PairKey(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

bool OccursInUtf8(int byte) { return byte != 0xC0 && byte != 0xC1 && byte <= 0xF4; }

}  // namespace

absl::StatusOr<BpeModel> BpeModel::Build(const Vocabulary& vocabulary, const MergeList& merges,
                                         bool ignore_merges) {
  BpeModel model;
  QUIRE_RETURN_IF_ERROR(model.AddVocabulary(vocabulary));
  QUIRE_RETURN_IF_ERROR(model.AddMerges(vocabulary, merges));
  model.FindDirectWords(ignore_merges);
  return model;
}

absl::Status BpeModel::AddVocabulary(const Vocabulary& vocabulary) {
  words_.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary) {
    if (std::optional<std::string> bytes = BytesSpelledBy(token)) {
      words_.emplace(*std::move(bytes), Word{id, false});
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto word = words_.find(std::string(1, static_cast<char>(byte)));
    byte_ids_[byte] = word == words_.end() ? kNoToken : word->second.id;
    if (byte_ids_[byte] == kNoToken && OccursInUtf8(byte)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "model.vocab has no token for byte 0x%02X; only byte-level vocabularies are supported",
          byte));
    }
  }
  return absl::OkStatus();
}

absl::Status BpeModel::AddMerges(const Vocabulary& vocabulary, const MergeList& merges) {
  absl::flat_hash_map<absl::string_view, TokenId> ids;
  ids.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary) ids.emplace(token, id);
  const auto find = [&](const std::string& token) -> absl::StatusOr<TokenId> {
    const auto entry = ids.find(token);
    if (entry != ids.end()) return entry->second;
    return absl::InvalidArgumentError(
        absl::StrCat("model.merges needs the token ", Quoted(token), ", not in model.vocab"));
  };
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    QUIRE_ASSIGN_OR_RETURN(const TokenId left_id, find(left));
    QUIRE_ASSIGN_OR_RETURN(const TokenId right_id, find(right));
    QUIRE_ASSIGN_OR_RETURN(const TokenId merged_id, find(left + right));
    // Of a pair that is listed twice, the last rank counts, as in the `tokenizers` library.
    merges_.insert_or_assign(PairKey(left_id, right_id),
                             Merge{static_cast<uint32_t>(rank), merged_id});
  }
  return absl::OkStatus();
}

// Most pieces of real text are a token, and merging nearly always arrives there; knowing for which
// tokens it does saves the merging without changing an id.
void BpeModel::FindDirectWords(bool ignore_merges) {
  Scratch scratch;
  for (auto& [bytes, word] : words_) {
    if (bytes.empty()) continue;
    const bool encodable = std::all_of(bytes.begin(), bytes.end(), [&](char c) {
      return byte_ids_[static_cast<uint8_t>(c)] != kNoToken;
    });
    if (!ignore_merges && encodable) ApplyMerges(bytes, scratch);
    word.is_its_own_encoding =
        ignore_merges || (encodable && scratch.symbols.front().id == word.id &&
                          scratch.symbols.front().next == kEnd);
  }
}

void BpeModel::Encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const {
  const auto word = words_.find(absl::string_view(piece.data(), piece.size()));
  if (word != words_.end() && word->second.is_its_own_encoding) {
    ids.push_back(word->second.id);
    return;
  }
  ApplyMerges(piece, scratch);
  for (int32_t i = 0; i != kEnd; i = scratch.symbols[i].next) {
    ids.push_back(scratch.symbols[i].id);
  }
}

const BpeModel::Merge* BpeModel::FindMerge(const Scratch& scratch, int32_t position) const {
  const Scratch::Symbol& left = scratch.symbols[position];
  if (left.id == kRemoved || left.next == kEnd) return nullptr;
  const auto merge = merges_.find(PairKey(left.id, scratch.symbols[left.next].id));
  return merge == merges_.end() ? nullptr : &merge->second;
}

void BpeModel::Push(Scratch& scratch, int32_t position) const {
  const Merge* merge = FindMerge(scratch, position);
  if (merge == nullptr) return;
  scratch.queue.push_back(uint64_t{merge->rank} << 32 | static_cast<uint32_t>(position));
  std::push_heap(scratch.queue.begin(), scratch.queue.end(), std::greater<>());
}

// Leaves the result as a list that starts at symbol 0. Every merge removes a symbol and queues at
// most two pairs, so the queue sees fewer than 3n entries; those that a neighbour's merge has made
// stale are told by their rank.
void BpeModel::ApplyMerges(std::string_view piece, Scratch& scratch) const {
  std::vector<Scratch::Symbol>& symbols = scratch.symbols;
  const auto size = static_cast<int32_t>(piece.size());
  symbols.resize(piece.size());
  for (int32_t i = 0; i < size; ++i) {
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], i - 1, i + 1 < size ? i + 1 : kEnd};
  }
  scratch.queue.clear();
  for (int32_t i = 0; i < size; ++i) Push(scratch, i);
  while (!scratch.queue.empty()) {
    const uint64_t top = scratch.queue.front();
    std::pop_heap(scratch.queue.begin(), scratch.queue.end(), std::greater<>());
    scratch.queue.pop_back();
    const auto position = static_cast<int32_t>(top & 0xFFFFFFFF);
    const Merge* merge = FindMerge(scratch, position);
    if (merge == nullptr || merge->rank != top >> 32) continue;
    Scratch::Symbol& left = symbols[position];
    Scratch::Symbol& right = symbols[left.next];
    left = {merge->id, left.previous, right.next};
    right.id = kRemoved;
    if (left.next != kEnd) symbols[left.next].previous = position;
    if (left.previous != kEnd) Push(scratch, left.previous);
    Push(scratch, position);
  }
}

}  // namespace quire
