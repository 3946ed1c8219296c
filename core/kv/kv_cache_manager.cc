#include "core/kv/kv_cache_manager.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire {
namespace {

int32_t CountBlocks(const KvLayout& layout, const SlabArena& arena) {
  return arena.num_slabs() * static_cast<int32_t>(arena.slab_bytes() / layout.BlockBytes());
}

}  // namespace

KvReservation::~KvReservation() {
  if (manager_ == nullptr) return;
  for (auto growth = growth_.rbegin(); growth != growth_.rend(); ++growth) {
    manager_->Rollback(*growth);
  }
}

void KvReservation::Commit() {
  QUIRE_CHECK(manager_ != nullptr) << "a reservation is committed once";
  for (const Growth& growth : growth_) {
    BlockTable& table = manager_->TableOf(growth.sequence);
    manager_->filled_slots_ += growth.filled_after - table.filled_tokens;
    table.filled_tokens = growth.filled_after;
  }
  manager_ = nullptr;
}

KvCacheManager::KvCacheManager(KvLayout layout, SlabArena* arena)
    : layout_(std::move(layout)), arena_(arena), pool_(CountBlocks(layout_, *arena)) {
  const size_t units_per_slab = arena->slab_bytes() / kernels::kKvOffsetUnit;
  QUIRE_CHECK(units_per_slab * static_cast<size_t>(arena->num_slabs()) <= UINT32_MAX)
      << "an arena beyond 1 TiB needs wider block offsets";
  units_per_block_ = static_cast<uint32_t>(layout_.BlockBytes() / kernels::kKvOffsetUnit);
  blocks_per_slab_ = static_cast<uint32_t>(arena->slab_bytes() / layout_.BlockBytes());
  while (auto slab = arena->Claim()) {
    slabs_.push_back(*slab);
    slab_units_.push_back(static_cast<uint32_t>(static_cast<size_t>(*slab) * units_per_slab));
  }
  QUIRE_CHECK(slabs_.size() * blocks_per_slab_ == static_cast<size_t>(pool_.num_blocks()))
      << "the arena is shared: claim slabs on demand";
}

KvCacheManager::~KvCacheManager() {
  for (int32_t slab : slabs_) arena_->Return(slab);
}

void KvCacheManager::Admit(SequenceId sequence, int64_t max_tokens) {
  const int32_t blocks = layout_.BlocksFor(max_tokens);
  QUIRE_CHECK(blocks <= Budget().headroom_blocks) << "admission beyond the KV budget";
  BlockTable table;
  table.promised_blocks = blocks;
  table.blocks.reserve(static_cast<size_t>(blocks));
  const bool inserted = tables_.emplace(sequence, std::move(table)).second;
  QUIRE_CHECK(inserted) << "sequence " << sequence.value() << " is admitted already";
  promised_blocks_ += blocks;
}

KvReservation KvCacheManager::Reserve(std::span<const KvNeed> needs) {
  KvReservation reservation(this);
  reservation.growth_.reserve(needs.size());
  for (const KvNeed& need : needs) {
    BlockTable& table = TableOf(need.sequence);
    const auto held = static_cast<int32_t>(table.blocks.size());
    const int32_t wanted = layout_.BlocksFor(need.tokens);
    QUIRE_CHECK(wanted <= table.promised_blocks)
        << "sequence " << need.sequence.value() << " grows beyond its promise";
    reservation.growth_.push_back({need.sequence, held, need.tokens});
    if (wanted <= held) continue;
    QUIRE_CHECK(pool_.Allocate(wanted - held, &table.blocks)) << "promised blocks are not free";
    allocated_total_ += static_cast<uint64_t>(wanted - held);
  }
  return reservation;
}

void KvCacheManager::Rollback(const KvReservation::Growth& growth) {
  BlockTable& table = TableOf(growth.sequence);
  while (static_cast<int32_t>(table.blocks.size()) > growth.blocks_before) {
    pool_.Release(table.blocks.back());
    pool_.Free(table.blocks.back());
    table.blocks.pop_back();
    ++freed_total_;
  }
}

void KvCacheManager::Free(SequenceId sequence, StepId last_launched) {
  const auto it = tables_.find(sequence);
  QUIRE_CHECK(it != tables_.end()) << "sequence " << sequence.value() << " holds no KV";
  const BlockTable& table = it->second;
  promised_blocks_ -= table.promised_blocks;
  filled_slots_ -= table.filled_tokens;
  QUIRE_CHECK(fenced_.empty() || fenced_.back().first <= last_launched) << "fences out of order";
  for (BlockId block : table.blocks) {
    pool_.Release(block);
    fenced_.emplace_back(last_launched, block);
  }
  tables_.erase(it);
  StepCompleted(completed_step_);
}

void KvCacheManager::StepCompleted(StepId step) {
  QUIRE_CHECK(step >= completed_step_) << "steps complete in launch order";
  completed_step_ = step;
  while (!fenced_.empty() && fenced_.front().first <= step) {
    pool_.Free(fenced_.front().second);
    fenced_.pop_front();
    ++freed_total_;
  }
}

const BlockTable& KvCacheManager::Table(SequenceId sequence) const {
  return const_cast<KvCacheManager*>(this)->TableOf(sequence);
}

BlockTable& KvCacheManager::TableOf(SequenceId sequence) {
  const auto it = tables_.find(sequence);
  QUIRE_CHECK(it != tables_.end()) << "sequence " << sequence.value() << " holds no KV";
  return it->second;
}

KvSnapshot KvCacheManager::Snapshot() const {
  KvSnapshot snapshot;
  snapshot.total_blocks = pool_.num_blocks();
  snapshot.free_blocks = pool_.num_free();
  snapshot.active_blocks = pool_.num_held();
  snapshot.fenced_blocks = pool_.num_released();
  snapshot.promised_blocks = promised_blocks_ - pool_.num_held();
  snapshot.filled_slots = filled_slots_;
  snapshot.allocated_total = allocated_total_;
  snapshot.freed_total = freed_total_;
  snapshot.block_bytes = layout_.BlockBytes();
  snapshot.arena_bytes = arena_->slab_bytes() * slabs_.size();
  snapshot.block_tokens = layout_.block_tokens;
  return snapshot;
}

std::vector<std::string> KvCacheManager::CheckInvariants() const {
  std::vector<std::string> violations;
  std::vector<int32_t> owners(static_cast<size_t>(pool_.num_blocks()), 0);
  int64_t held = 0, promised = 0, filled = 0;
  for (const auto& [sequence, table] : tables_) {
    held += static_cast<int64_t>(table.blocks.size());
    promised += table.promised_blocks;
    filled += table.filled_tokens;
    for (BlockId block : table.blocks) ++owners[block.value()];
    if (layout_.BlocksFor(table.filled_tokens) > static_cast<int32_t>(table.blocks.size())) {
      violations.push_back(absl::StrCat("sequence ", sequence.value(), " has tokens and no block"));
    }
  }
  for (const auto& [step, block] : fenced_) ++owners[block.value()];
  for (size_t b = 0; b < owners.size(); ++b) {
    if (owners[b] > 1) violations.push_back(absl::StrCat("block ", b, " has two owners"));
  }
  const auto expect = [&](const char* what, int64_t counted, int64_t kept) {
    if (counted != kept) violations.push_back(absl::StrCat(what, ": ", counted, " != ", kept));
  };
  expect("held blocks", held, pool_.num_held());
  expect("fenced blocks", static_cast<int64_t>(fenced_.size()), pool_.num_released());
  expect("promised blocks", promised, promised_blocks_);
  expect("filled slots", filled, filled_slots_);
  expect("allocated - freed", static_cast<int64_t>(allocated_total_ - freed_total_),
         held + pool_.num_released());
  if (promised + pool_.num_released() > total_blocks()) {
    violations.push_back("more blocks are promised than exist");
  }
  return violations;
}

}  // namespace quire
