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

PrefixCache::NodeId PrefixCache::Insert(const Key& key, BlockId block, TenantId owner) {
  QUIRE_CHECK(!Contains(block)) << "block " << block.value() << " is cached already";
  QUIRE_CHECK(key.parent == kRoot || key.scope.empty()) << "a scope belongs to the first block";
  if (entries_.size() <= block.value()) entries_.resize(size_t{block.value()} + 1);
  Entry& entry = entries_[block.value()];
  entry.id = ++last_id_;
  entry.owner = owner;
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

PrefixCache::Owner& PrefixCache::OwnerAt(TenantId owner) {
  if (owners_.size() <= owner.value()) owners_.resize(size_t{owner.value()} + 1);
  return owners_[owner.value()];
}

void PrefixCache::TakeOut(TenantId id) {
  const Owner& owner = OwnerAt(id);
  protected_ -= owner.Protected();
  if (owner.oldest == kNone) return;
  const std::pair key(entries_[owner.oldest].unused_since, id);
  (owner.use.unused > owner.quota.floor ? above_floor_ : within_floor_).erase(key);
}

void PrefixCache::PutBack(TenantId id) {
  const Owner& owner = OwnerAt(id);
  protected_ += owner.Protected();
  if (owner.oldest == kNone) return;
  (owner.use.unused > owner.quota.floor ? above_floor_ : within_floor_)
      .emplace(entries_[owner.oldest].unused_since, id);
}

void PrefixCache::SetUnused(BlockId block) {
  Entry& entry = EntryOf(block);
  QUIRE_CHECK(!entry.unused);
  TakeOut(entry.owner);
  Owner& owner = OwnerAt(entry.owner);
  entry.unused = true;
  entry.unused_since = ++last_unused_;
  entry.older = owner.newest;
  entry.newer = kNone;
  (owner.newest == kNone ? owner.oldest : entries_[owner.newest].newer) = block.value();
  owner.newest = block.value();
  ++owner.use.unused;
  ++unused_;
  PutBack(entry.owner);
}

void PrefixCache::SetUsed(BlockId block) {
  Entry& entry = EntryOf(block);
  QUIRE_CHECK(entry.unused);
  TakeOut(entry.owner);
  Owner& owner = OwnerAt(entry.owner);
  entry.unused = false;
  (entry.older == kNone ? owner.oldest : entries_[entry.older].newer) = entry.newer;
  (entry.newer == kNone ? owner.newest : entries_[entry.newer].older) = entry.older;
  --owner.use.unused;
  --unused_;
  PutBack(entry.owner);
}

BlockId PrefixCache::Evict(uint32_t block) {
  SetUsed(BlockId(block));
  Erase(BlockId(block));
  return BlockId(block);
}

BlockId PrefixCache::EvictOldest(TenantId taker) {
  QUIRE_CHECK(unused_ > 0) << "no block is unused";
  // Floors that were raised may protect more than there is room for: then they do not.
  const TenantId id = (above_floor_.empty() ? within_floor_ : above_floor_).begin()->second;
  if (id != taker) {
    ++OwnerAt(id).use.lost;
    ++OwnerAt(taker).use.taken;
  }
  return Evict(OwnerAt(id).oldest);
}

void PrefixCache::SetQuotas(std::vector<Quota> quotas) {
  above_floor_.clear();
  within_floor_.clear();
  protected_ = floors_ = 0;
  owners_.resize(std::max(owners_.size(), quotas.size()));
  quotas.resize(owners_.size());
  for (uint32_t i = 0; i < owners_.size(); ++i) {
    owners_[i].quota = quotas[i];
    floors_ += quotas[i].floor;
    PutBack(TenantId(i));
  }
}

std::optional<BlockId> PrefixCache::EvictBeyondCeiling(TenantId id) {
  const Owner& owner = OwnerAt(id);
  if (owner.use.unused <= owner.quota.ceiling) return std::nullopt;
  return Evict(owner.oldest);
}

std::vector<BlockId> PrefixCache::Flush(std::optional<TenantId> owner) {
  std::vector<BlockId> unused;
  for (uint32_t block = 0; block < entries_.size(); ++block) {
    if (!Contains(BlockId(block)) || (owner.has_value() && entries_[block].owner != *owner))
      continue;
    if (!entries_[block].unused) {
      Erase(BlockId(block));
    } else {
      unused.push_back(Evict(block));
    }
  }
  return unused;
}

PrefixCache::Use PrefixCache::UseOf(TenantId owner) const {
  return owner.value() < owners_.size() ? owners_[owner.value()].use : Use{};
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
  int64_t protected_blocks = 0;
  for (uint32_t i = 0; i < owners_.size(); ++i) {
    const Owner& owner = owners_[i];
    const int64_t listed_before = listed;
    for (uint32_t block = owner.oldest; block != kNone && listed <= unused; ++listed) {
      if (!entries_[block].unused) violations.push_back("a used block waits for eviction");
      if (entries_[block].owner != TenantId(i)) violations.push_back("a block is another's");
      block = entries_[block].newer;
    }
    if (listed - listed_before != owner.use.unused) violations.push_back("unused of an owner");
    protected_blocks += owner.Protected();
    const bool above = owner.use.unused > owner.quota.floor;
    const std::pair key(owner.oldest == kNone ? 0 : entries_[owner.oldest].unused_since,
                        TenantId(i));
    if (above_floor_.contains(key) != above ||
        within_floor_.contains(key) != (!above && owner.use.unused > 0)) {
      violations.push_back("an owner is not where its blocks are looked for");
    }
  }
  if (protected_blocks != protected_) violations.push_back("protected blocks");
  if (size != size_ || unused != unused_ || listed != unused || found != size) {
    violations.push_back(absl::StrCat("prefix cache: ", size, " blocks of ", size_, ", ", unused,
                                      " unused of ", unused_, ", ", listed, " listed, ", found,
                                      " found"));
  }
  return violations;
}

}  // namespace quire
