#include "core/kv/kv_class_cache.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire {
namespace {

int32_t BlocksPerSlab(const KvLayout& layout, const SlabArena& arena) {
  const size_t block_bytes = layout.BlockBytes();
  QUIRE_CHECK(block_bytes > 0 && block_bytes <= arena.slab_bytes())
      << "a block of " << block_bytes << " bytes in slabs of " << arena.slab_bytes();
  return static_cast<int32_t>(arena.slab_bytes() / block_bytes);
}

}  // namespace

KvClassCache::KvClassCache(KvLayout layout, SlabArena* arena, int64_t in_flight_tokens)
    : layout_(std::move(layout)),
      arena_(arena),
      in_flight_tokens_(in_flight_tokens),
      pool_(BlocksPerSlab(layout_, *arena), arena->num_slabs()),
      arena_slab_(static_cast<size_t>(arena->num_slabs()), -1),
      slab_units_(arena_slab_.size(), 0),
      units_per_block_(static_cast<uint32_t>(layout_.BlockBytes() / kernels::kKvOffsetUnit)),
      fence_of_(arena_slab_.size() * static_cast<size_t>(pool_.blocks_per_slab())) {}

KvClassCache::~KvClassCache() {
  for (int32_t slab : arena_slab_) {
    if (slab >= 0) arena_->Return(slab);
  }
}

void KvClassCache::Grow(BlockTable* table, int64_t tokens, TenantId tenant) {
  int32_t missing = layout_.BlocksFor(tokens) - static_cast<int32_t>(table->blocks.size());
  if (missing <= 0) return;
  QUIRE_CHECK(table->held_blocks() + missing <= table->promised_blocks)
      << "a table grows beyond its promise of " << table->promised_blocks << " blocks";
  allocated_total_ += static_cast<uint64_t>(missing);
  while (missing > 0) {
    while (pool_.num_free() == 0) {
      if (ClaimSlab()) continue;
      QUIRE_CHECK(prefix_.unused() > 0) << "promised blocks are not free";
      Evicted(prefix_.EvictOldest(tenant));
    }
    const int32_t count = std::min(missing, pool_.num_free());
    QUIRE_CHECK(pool_.Allocate(count, &table->blocks));
    missing -= count;
  }
}

bool KvClassCache::ClaimSlab() {
  const auto slab = arena_->Claim();
  if (!slab.has_value()) return false;
  const auto slot = static_cast<size_t>(pool_.AddSlab());
  arena_slab_[slot] = *slab;
  const size_t units = arena_->slab_bytes() / kernels::kKvOffsetUnit;
  slab_units_[slot] = static_cast<uint32_t>(static_cast<size_t>(*slab) * units);
  return true;
}

void KvClassCache::Shrink(BlockTable* table, size_t entries) {
  while (table->blocks.size() > entries) {
    pool_.Release(table->blocks.back());
    FreeBlock(table->blocks.back());
    table->blocks.pop_back();
  }
}

void KvClassCache::Pass(BlockTable* table, int64_t kv_len) {
  const int32_t passed = layout_.PassedBlocks(kv_len);
  while (table->passed_blocks < passed) {
    BlockId& block = table->blocks[static_cast<size_t>(table->passed_blocks++)];
    // No fence: neither a completed step nor one on its way looks at it again.
    pool_.Release(block);
    FreeBlock(block);
    block = kNoBlock;
  }
}

void KvClassCache::Release(const BlockTable& table, StepId last_launched) {
  QUIRE_CHECK(fences_.empty() || fences_.back().step <= last_launched) << "fences out of order";
  promised_blocks_ -= table.promised_blocks;
  // From the end, so that of a prefix the blocks are given up first that others are built on least.
  for (size_t b = table.blocks.size(); b-- > static_cast<size_t>(table.passed_blocks);) {
    const BlockId block = table.blocks[b];
    if (block == kNoBlock || !pool_.Release(block)) continue;  // it has left by itself; is shared
    fence_of_[block.value()] = ++last_fence_;
    fences_.push_back({last_launched, block, last_fence_});
  }
}

void KvClassCache::StepCompleted(StepId step) {
  while (!fences_.empty() && fences_.front().step <= step) {
    if (Holds(fences_.front())) LetGo(fences_.front().block);
    fences_.pop_front();
  }
}

void KvClassCache::LetGo(BlockId block) {
  if (!prefix_.Contains(block)) return FreeBlock(block);
  pool_.Cache(block);
  prefix_.SetUnused(block);
  if (const auto beyond = prefix_.EvictBeyondCeiling(prefix_.OwnerOf(block))) Evicted(*beyond);
}

void KvClassCache::Evicted(BlockId block) {
  ++evicted_total_;
  FreeBlock(block);
}

void KvClassCache::Leave(BlockId block, StepId last_launched, TransferId transfer) {
  const bool last = pool_.Release(block);
  QUIRE_CHECK(last && !prefix_.Contains(block)) << "others use the block";
  leaving_.emplace(block, Leaving{last_launched, transfer});
}

void KvClassCache::TransferEnded(BlockId block, TransferId transfer, StepId completed) {
  const auto it = leaving_.find(block);
  if (it == leaving_.end() || it->second.transfer != transfer) return;
  const StepId step = it->second.step;
  leaving_.erase(it);
  if (step <= completed) return FreeBlock(block);
  // Others may have been fenced by later steps meanwhile.
  const auto later =
      std::upper_bound(fences_.begin(), fences_.end(), step,
                       [](StepId value, const Fence& fence) { return value < fence.step; });
  fence_of_[block.value()] = ++last_fence_;
  fences_.insert(later, {step, block, last_fence_});
}

size_t KvClassCache::OffsetOf(BlockId block) const {
  const size_t units = slab_units_[static_cast<size_t>(pool_.SlotOf(block))] +
                       size_t{block.value() % blocks_per_slab()} * units_per_block_;
  return units * kernels::kKvOffsetUnit;
}

void KvClassCache::FreeBlock(BlockId block) {
  pool_.Free(block);
  ++freed_total_;
  const int32_t slot = pool_.SlotOf(block);
  if (!pool_.SlabIsFree(slot)) return;
  pool_.RemoveSlab(slot);
  arena_->Return(std::exchange(arena_slab_[static_cast<size_t>(slot)], -1));
}

KvBudget::Class KvClassCache::Budget(bool fenced) const {
  return {.spoken_for = promised_blocks_ + (fenced ? pool_.num_released() : 0),
          .protected_blocks = prefix_.protected_blocks(),
          .claimed_slabs = pool_.num_slabs(),
          .blocks_per_slab = pool_.blocks_per_slab(),
          .block_bytes = static_cast<int64_t>(layout_.BlockBytes())};
}

KvClassSnapshot KvClassCache::Snapshot() const {
  KvClassSnapshot snapshot;
  snapshot.free_blocks =
      pool_.num_free() + static_cast<int64_t>(arena_->free_slabs()) * pool_.blocks_per_slab();
  snapshot.active_blocks = pool_.num_held();
  snapshot.fenced_blocks = pool_.num_released();
  snapshot.cached_blocks = pool_.num_cached();
  snapshot.total_blocks = snapshot.free_blocks + snapshot.active_blocks + snapshot.fenced_blocks +
                          snapshot.cached_blocks;
  snapshot.table_entries = pool_.num_references();
  snapshot.promised_blocks = promised_blocks_ - pool_.num_references();
  snapshot.evicted_total = evicted_total_;
  snapshot.allocated_total = allocated_total_;
  snapshot.freed_total = freed_total_;
  snapshot.block_bytes = layout_.BlockBytes();
  snapshot.block_tokens = layout_.block_tokens;
  snapshot.blocks_per_slab = pool_.blocks_per_slab();
  snapshot.window = layout_.window;
  return snapshot;
}

void KvClassCache::CheckInvariants(std::span<const BlockTable* const> tables,
                                   std::vector<std::string>* violations) const {
  const auto report = [&](auto... parts) {
    violations->push_back(absl::StrCat("cache class of window ", layout_.window, ": ", parts...));
  };
  const auto expect = [&](const char* what, int64_t counted, int64_t kept) {
    if (counted != kept) report(what, ": ", counted, " != ", kept);
  };
  std::vector<int32_t> owners(arena_slab_.size() * blocks_per_slab(), 0);
  int64_t held = 0, promised = 0;
  for (const BlockTable* table : tables) {
    held += table->held_blocks();
    promised += table->promised_blocks;
    if (table->held_blocks() > table->promised_blocks) report("a table holds more than promised");
    for (size_t b = 0; b < table->blocks.size(); ++b) {
      const bool passed = b < static_cast<size_t>(table->passed_blocks);
      if (passed != (table->blocks[b] == kNoBlock)) report("entry ", b, " of a table is wrong");
      if (!passed) ++owners[table->blocks[b].value()];
    }
  }
  expect("references", held, pool_.num_references());
  std::vector<int32_t> users = owners;
  for (int32_t& owner : owners) owner = std::min(owner, 1);  // of shared blocks
  int64_t fences = 0, cached = 0, distinct = std::count(owners.begin(), owners.end(), 1);
  for (const Fence& fence : fences_) {
    if (!Holds(fence)) continue;
    ++fences;
    ++owners[fence.block.value()];
  }
  for (size_t b = 0; b < owners.size(); ++b) {
    const BlockId block(static_cast<uint32_t>(b));
    if (users[b] != pool_.references(block)) report("block ", b, " has wrong references");
    if (!pool_.IsCached(block)) continue;
    ++cached;
    ++owners[b];
    if (!prefix_.Contains(block)) report("cached block ", b, " cannot be found");
  }
  expect("cached blocks", cached, pool_.num_cached());
  expect("unused blocks", cached, prefix_.unused());
  for (std::string& violation : prefix_.CheckInvariants()) report(violation);
  for (const auto& [block, leaving] : leaving_) ++owners[block.value()];
  for (size_t b = 0; b < owners.size(); ++b) {
    if (owners[b] > 1) report("block ", b, " has two owners");
    if (owners[b] > 0 && arena_slab_[b / blocks_per_slab()] < 0)
      report("block ", b, " has no slab");
  }
  expect("held blocks", distinct, pool_.num_held());
  expect("fenced blocks", fences + static_cast<int64_t>(leaving_.size()), pool_.num_released());
  expect("promised blocks", promised, promised_blocks_);
  expect("allocated - freed", static_cast<int64_t>(allocated_total_ - freed_total_),
         distinct + pool_.num_released() + cached);
  expect("claimed slabs",
         std::count_if(arena_slab_.begin(), arena_slab_.end(), [](int32_t s) { return s >= 0; }),
         pool_.num_slabs());
}

}  // namespace quire
