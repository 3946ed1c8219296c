#include "core/text/bpe_merges.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

namespace quire {
namespace {

constexpr TokenId kRemoved = -1;
constexpr int32_t kEnd = -1;
constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
// Up to this many symbols looking at all of them for each merge beats keeping a heap.
constexpr size_t kFew = 48;

uint64_t PairKey(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void BpeMerges::Add(TokenId left, TokenId right, uint32_t rank, TokenId merged) {
  merges_.insert_or_assign(PairKey(left, right), Merge{rank, merged});
}

void BpeMerges::Apply(std::vector<TokenId>& ids, Scratch& scratch) const {
  if (ids.size() < 2) return;
  if (ids.size() <= kFew) {
    ApplyToFew(ids);
  } else {
    ApplyToMany(ids, scratch);
  }
}

const BpeMerges::Merge* BpeMerges::Find(TokenId left, TokenId right) const {
  const auto merge = merges_.find(PairKey(left, right));
  return merge == merges_.end() ? nullptr : &merge->second;
}

void BpeMerges::ApplyToFew(std::vector<TokenId>& ids) const {
  std::array<uint32_t, kFew> ranks;  // of the pair that begins at each symbol
  std::array<TokenId, kFew> merged;
  size_t size = ids.size();
  const auto look_up = [&](size_t i) {
    const Merge* merge = i + 1 < size ? Find(ids[i], ids[i + 1]) : nullptr;
    ranks[i] = merge == nullptr ? kNoRank : merge->rank;
    merged[i] = merge == nullptr ? kRemoved : merge->id;
  };
  for (size_t i = 0; i < size; ++i) look_up(i);
  while (true) {
    const auto lowest = std::min_element(ranks.begin(), ranks.begin() + size);
    if (*lowest == kNoRank) break;
    const auto at = static_cast<size_t>(lowest - ranks.begin());
    ids[at] = merged[at];
    std::copy(ids.begin() + at + 2, ids.begin() + size, ids.begin() + at + 1);
    std::copy(ranks.begin() + at + 2, ranks.begin() + size, ranks.begin() + at + 1);
    std::copy(merged.begin() + at + 2, merged.begin() + size, merged.begin() + at + 1);
    --size;
    look_up(at);
    if (at > 0) look_up(at - 1);
  }
  ids.resize(size);
}

const BpeMerges::Merge* BpeMerges::FindAt(const Scratch& scratch, int32_t position) const {
  const Scratch::Symbol& left = scratch.symbols[position];
  if (left.id == kRemoved || left.next == kEnd) return nullptr;
  return Find(left.id, scratch.symbols[left.next].id);
}

void BpeMerges::Push(Scratch& scratch, int32_t position) const {
  const Merge* merge = FindAt(scratch, position);
  if (merge == nullptr) return;
  scratch.queue.push_back(uint64_t{merge->rank} << 32 | static_cast<uint32_t>(position));
  std::push_heap(scratch.queue.begin(), scratch.queue.end(), std::greater<>());
}

void BpeMerges::MergeSymbols(Scratch& scratch, int32_t position, TokenId merged) const {
  Scratch::Symbol& left = scratch.symbols[position];
  Scratch::Symbol& right = scratch.symbols[left.next];
  left = {merged, left.previous, right.next};
  right.id = kRemoved;
  if (left.next != kEnd) scratch.symbols[left.next].previous = position;
  if (left.previous != kEnd) Push(scratch, left.previous);
  Push(scratch, position);
}

// Every merge removes a symbol and queues at most two pairs, so the queue sees fewer than 3n
// entries; those that a neighbour's merge has made stale are told by their rank.
void BpeMerges::ApplyToMany(std::vector<TokenId>& ids, Scratch& scratch) const {
  std::vector<Scratch::Symbol>& symbols = scratch.symbols;
  const auto size = static_cast<int32_t>(ids.size());
  symbols.resize(ids.size());
  for (int32_t i = 0; i < size; ++i) symbols[i] = {ids[i], i - 1, i + 1 < size ? i + 1 : kEnd};
  scratch.queue.clear();
  for (int32_t i = 0; i < size; ++i) {
    const Merge* merge = FindAt(scratch, i);
    if (merge == nullptr) continue;
    scratch.queue.push_back(uint64_t{merge->rank} << 32 | static_cast<uint32_t>(i));
  }
  std::make_heap(scratch.queue.begin(), scratch.queue.end(), std::greater<>());
  while (!scratch.queue.empty()) {
    const uint64_t top = scratch.queue.front();
    std::pop_heap(scratch.queue.begin(), scratch.queue.end(), std::greater<>());
    scratch.queue.pop_back();
    const auto position = static_cast<int32_t>(top & 0xFFFFFFFF);
    const Merge* merge = FindAt(scratch, position);
    if (merge != nullptr && merge->rank == top >> 32) MergeSymbols(scratch, position, merge->id);
  }
  ids.clear();
  for (int32_t i = 0; i != kEnd; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace quire
