#include "core/kv/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire {

uint64_t PrefixCache::Hash(const Key& key) {
  return absl::HashOf(key.parent, key.scope,
                      absl::MakeConstSpan(key.tokens.data(), key.tokens.size()));
}

bool PrefixCache::Matches(const Entry& entry, const Key& key) {
  return entry.parent == key.parent && entry.scope == key.scope &&
         std::ranges::equal(entry.tokens, key.tokens);
}

PrefixCache::Node PrefixCache::Find(const Key& key) const {
  const auto first = by_hash_.find(hash_(key));
  if (first == by_hash_.end()) return {};
  for (uint32_t block = first->second; block != kNone; block = entries_[block].next_of_hash) {
    if (Matches(entries_[block], key)) return {entries_[block].id, BlockId(block)};
  }
  return {};
}

PrefixCache::NodeId PrefixCache::Insert(const Key& key, BlockId block) {
  QUIRE_CHECK(!Contains(block)) << "block " << block.value() << " is cached already";
  QUIRE_CHECK(key.parent == kRoot || key.scope.empty()) << "a scope belongs to the first block";
  if (entries_.size() <= block.value()) entries_.resize(size_t{block.value()} + 1);
  Entry& entry = entries_[block.value()];
  entry.id = ++last_id_;
  entry.parent = key.parent;
  entry.hash = hash_(key);
  entry.scope.assign(key.scope.data(), key.scope.size());
  entry.tokens.assign(key.tokens.begin(), key.tokens.end());
  const auto [first, inserted] = by_hash_.try_emplace(entry.hash, block.value());
  if (!inserted) entry.next_of_hash = std::exchange(first->second, block.value());
  ++size_;
  return entry.id;
}

bool PrefixCache::Contains(BlockId block) const {
  return block.value() < entries_.size() && entries_[block.value()].id != kRoot;
}

PrefixCache::Entry& PrefixCache::EntryOf(BlockId block) {
  QUIRE_CHECK(Contains(block)) << "block " << block.value() << " is not cached";
  return entries_[block.value()];
}

void PrefixCache::Erase(BlockId block) {
  Entry& entry = EntryOf(block);
  QUIRE_CHECK(!entry.unused) << "an unused block is evicted, not erased";
  const auto first = by_hash_.find(entry.hash);
  uint32_t* link = &first->second;
  while (*link != block.value()) link = &entries_[*link].next_of_hash;
  *link = entry.next_of_hash;
  if (first->second == kNone) by_hash_.erase(first);
  // The vectors stay for the block's next tokens: a step allocates nothing for them.
  entry.id = entry.parent = kRoot;
  entry.scope.clear();
  entry.tokens.clear();
  entry.next_of_hash = kNone;
  --size_;
}

void PrefixCache::SetUnused(BlockId block) {
  Entry& entry = EntryOf(block);
  QUIRE_CHECK(!entry.unused);
  entry.unused = true;
  entry.older = newest_;
  entry.newer = kNone;
  (newest_ == kNone ? oldest_ : entries_[newest_].newer) = block.value();
  newest_ = block.value();
  ++unused_;
}

void PrefixCache::SetUsed(BlockId block) {
  Entry& entry = EntryOf(block);
  QUIRE_CHECK(entry.unused);
  entry.unused = false;
  (entry.older == kNone ? oldest_ : entries_[entry.older].newer) = entry.newer;
  (entry.newer == kNone ? newest_ : entries_[entry.newer].older) = entry.older;
  --unused_;
}

BlockId PrefixCache::EvictOldest() {
  QUIRE_CHECK(oldest_ != kNone) << "no block is unused";
  const BlockId block(oldest_);
  SetUsed(block);
  Erase(block);
  return block;
}

std::vector<std::string> PrefixCache::CheckInvariants() const {
  std::vector<std::string> violations;
  int64_t size = 0, unused = 0, listed = 0, found = 0;
  for (uint32_t block = 0; block < entries_.size(); ++block) {
    const Entry& entry = entries_[block];
    if (entry.id == kRoot) continue;
    ++size;
    unused += entry.unused ? 1 : 0;
    found += Find({entry.parent, entry.scope, entry.tokens}).block == BlockId(block) ? 1 : 0;
  }
  for (uint32_t block = oldest_; block != kNone && listed <= unused; ++listed) {
    if (!entries_[block].unused) violations.push_back("a used block waits for eviction");
    block = entries_[block].newer;
  }
  if (size != size_ || unused != unused_ || listed != unused || found != size) {
    violations.push_back(absl::StrCat("prefix cache: ", size, " blocks of ", size_, ", ", unused,
                                      " unused of ", unused_, ", ", listed, " listed, ", found,
                                      " found"));
  }
  return violations;
}

}  // namespace quire
