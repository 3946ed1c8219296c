#include <utility>

#include "core/base/check.h"
#include "core/kv/kv_cache_manager.h"

// Blocks that are found by their tokens: see PrefixCache.

namespace quire {

namespace {

using Tokens = std::span<const TokenId>;

Tokens TokensOf(Tokens tokens, size_t block, size_t block_tokens) {
  return tokens.subspan(block * block_tokens, block_tokens);
}

}  // namespace

void KvClassCache::Share(BlockTable* table, BlockId block) {
  QUIRE_CHECK(table->held_blocks() < table->promised_blocks) << "a prefix beyond the promise";
  if (pool_.IsCached(block)) prefix_.SetUsed(block);
  fence_of_[block.value()] = 0;
  pool_.Share(block);
  table->blocks.push_back(block);
}

PrefixCache::NodeId KvClassCache::Publish(const PrefixCache::Key& key, BlockId block,
                                          TenantId owner) {
  return prefix_.Insert(key, block, owner);
}

void KvClassCache::SetPrefixQuotas(std::vector<PrefixCache::Quota> quotas) {
  const auto tenants = static_cast<uint32_t>(quotas.size());
  prefix_.SetQuotas(std::move(quotas));
  for (uint32_t i = 0; i < tenants; ++i) {
    while (const auto beyond = prefix_.EvictBeyondCeiling(TenantId(i))) Evicted(*beyond);
  }
}

void KvClassCache::FlushPrefixes(std::optional<TenantId> owner) {
  for (const BlockId block : prefix_.Flush(owner)) FreeBlock(block);
}

void KvClassCache::ForgetPrefix(const BlockTable& table) {
  for (BlockId block : table.blocks) {
    if (block != kNoBlock && prefix_.Contains(block)) prefix_.Erase(block);
  }
}

bool KvClassCache::IsShared(const BlockTable& table) const {
  for (BlockId block : table.blocks) {
    if (block != kNoBlock && pool_.references(block) > 1) return true;
  }
  return false;
}

bool KvCacheManager::EnablePrefixCache() {
  QUIRE_CHECK(sequences_.empty()) << "to be decided before the first sequence";
  prefix_cache_ = classes_.size() == 1 && classes_[0]->layout().window == 0;
  return prefix_cache_;
}

template <typename Visit>
void KvCacheManager::FollowPrefix(Tokens prompt, PrefixCursor* cursor, Visit visit) const {
  const auto block_tokens = static_cast<size_t>(classes_[0]->layout().block_tokens);
  while ((cursor->blocks + 1) * block_tokens < prompt.size()) {
    const PrefixCache::Node found =
        classes_[0]->prefixes().Find(cursor->KeyOf(TokensOf(prompt, cursor->blocks, block_tokens)));
    if (found.id == PrefixCache::kRoot) return;
    visit(found.block);
    cursor->Advance(found.id);
  }
}

int64_t KvCacheManager::SharePrefix(SequenceId sequence, Tokens prompt, absl::string_view scope,
                                    TenantId tenant) {
  if (!prefix_cache_) return 0;
  SequenceKv& kv = KvOf(sequence);
  QUIRE_CHECK(kv.tables[0].blocks.empty()) << "a prefix is shared before anything is computed";
  kv.tenant = tenant;
  kv.prefix.scope.assign(scope.data(), scope.size());
  kv.prefix.findable = true;
  FollowPrefix(prompt, &kv.prefix,
               [&](BlockId block) { classes_[0]->Share(&kv.tables[0], block); });
  kv.filled_tokens = PublishedTokens(sequence);
  kv.began_found = kv.filled_tokens > 0;
  filled_slots_[0] += kv.filled_tokens;
  prefix_queried_tokens_ += prompt.size();
  prefix_hit_tokens_ += static_cast<uint64_t>(kv.filled_tokens);
  return kv.filled_tokens;
}

int64_t KvCacheManager::FindPrefix(Tokens prompt, absl::string_view scope) const {
  if (!prefix_cache_) return 0;
  PrefixCursor cursor;
  cursor.scope.assign(scope.data(), scope.size());
  FollowPrefix(prompt, &cursor, [](BlockId) {});
  return static_cast<int64_t>(cursor.blocks) * PrefixBlockTokens();
}

int64_t KvCacheManager::PublishedTokens(SequenceId sequence) const {
  return static_cast<int64_t>(KvOf(sequence).prefix.blocks) * PrefixBlockTokens();
}

absl::string_view KvCacheManager::PublishedScope(SequenceId sequence) const {
  const PrefixCursor& prefix = KvOf(sequence).prefix;
  return prefix.findable ? absl::string_view(prefix.scope) : absl::string_view();
}

void KvCacheManager::Publish(SequenceId sequence, Tokens tokens) {
  if (!prefix_cache_ || swapped_.contains(sequence)) return;
  SequenceKv& kv = KvOf(sequence);
  QUIRE_CHECK(static_cast<int64_t>(tokens.size()) <= kv.filled_tokens)
      << tokens.size() << " of " << kv.filled_tokens;
  if (!kv.prefix.findable) return;
  const auto block_tokens = static_cast<size_t>(classes_[0]->layout().block_tokens);
  for (size_t b = kv.prefix.blocks; (b + 1) * block_tokens <= tokens.size(); ++b) {
    const PrefixCache::Key key = kv.prefix.KeyOf(TokensOf(tokens, b, block_tokens));
    // Another sequence may have computed the same meanwhile: what it has published stands.
    const PrefixCache::Node found = classes_[0]->prefixes().Find(key);
    kv.prefix.Advance(found.id != PrefixCache::kRoot
                          ? found.id
                          : classes_[0]->Publish(key, kv.tables[0].blocks[b], kv.tenant));
  }
}

void KvCacheManager::SetPrefixQuotas(std::span<const PrefixQuota> quotas) {
  if (!prefix_cache_) return;
  const auto block_bytes = static_cast<int64_t>(classes_[0]->layout().BlockBytes());
  std::vector<PrefixCache::Quota> blocks;
  for (const PrefixQuota& quota : quotas) {
    PrefixCache::Quota& of = blocks.emplace_back();
    of.floor = quota.floor_bytes / block_bytes;
    if (quota.ceiling_bytes > 0) of.ceiling = quota.ceiling_bytes / block_bytes;
  }
  classes_[0]->SetPrefixQuotas(std::move(blocks));
}

void KvCacheManager::FlushPrefixes(std::optional<TenantId> tenant) {
  if (!prefix_cache_) return;
  classes_[0]->FlushPrefixes(tenant);
  for (auto& [sequence, kv] : sequences_) {
    if (!tenant.has_value() || kv.tenant == *tenant) kv.prefix.findable = false;
  }
  for (auto& [sequence, kv] : swapped_) {
    if (!tenant.has_value() || kv.tenant == *tenant) kv.findable = false;
  }
}

PrefixUse KvCacheManager::PrefixUseOf(TenantId tenant) const {
  const PrefixCache::Use use = classes_[0]->prefixes().UseOf(tenant);
  return {.unused_bytes = use.unused * static_cast<int64_t>(classes_[0]->layout().BlockBytes()),
          .lost_blocks = use.lost,
          .taken_blocks = use.taken};
}

int64_t KvCacheManager::FloorBytes() const {
  return classes_[0]->prefixes().floor_blocks() *
         static_cast<int64_t>(classes_[0]->layout().BlockBytes());
}

void KvCacheManager::ForgetPrefix(SequenceId sequence) {
  if (!prefix_cache_) return;
  if (const auto swapped = swapped_.find(sequence); swapped != swapped_.end()) {
    swapped->second.findable = false;
    return;
  }
  SequenceKv& kv = KvOf(sequence);
  classes_[0]->ForgetPrefix(kv.tables[0]);
  kv.prefix.findable = false;
}

}  // namespace quire
