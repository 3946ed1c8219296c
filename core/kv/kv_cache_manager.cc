#include "core/kv/kv_cache_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire {

KvReservation::~KvReservation() {
  if (manager_ == nullptr) return;
  for (auto growth = growth_.rbegin(); growth != growth_.rend(); ++growth) {
    manager_->Rollback(*growth);
  }
}

void KvReservation::Commit() {
  QUIRE_CHECK(manager_ != nullptr) << "a reservation is committed once";
  for (const Growth& growth : growth_) {
    KvCacheManager::SequenceKv& kv = manager_->KvOf(growth.sequence);
    for (size_t c = 0; c < manager_->num_classes(); ++c) {
      manager_->filled_slots_[c] += growth.filled_after - kv.filled_tokens;
    }
    kv.filled_tokens = growth.filled_after;
  }
  manager_ = nullptr;
}

size_t KvCacheManager::SlabBytes(const KvLayouts& classes, size_t arena_bytes) {
  std::vector<size_t> block_bytes;
  for (const KvLayout& layout : classes) block_bytes.push_back(layout.BlockBytes());
  return SlabArena::SlabBytesFor(arena_bytes, block_bytes);
}

KvCacheManager::KvCacheManager(KvLayouts classes, SlabArena* arena, int64_t in_flight_tokens)
    : arena_(arena) {
  QUIRE_CHECK(!classes.empty() && classes.size() <= kernels::kMaxCacheClasses) << classes.size();
  QUIRE_CHECK(in_flight_tokens >= 1) << in_flight_tokens;
  QUIRE_CHECK(arena->free_slabs() == arena->num_slabs()) << "the arena has another user";
  const size_t units_per_slab = arena->slab_bytes() / kernels::kKvOffsetUnit;
  QUIRE_CHECK(units_per_slab * static_cast<size_t>(arena->num_slabs()) <= UINT32_MAX)
      << "an arena beyond 1 TiB needs wider block offsets";
  for (KvLayout& layout : classes) {
    classes_.push_back(std::make_unique<KvClassCache>(std::move(layout), arena, in_flight_tokens));
  }
}

KvCacheManager::~KvCacheManager() = default;

KvBlockCounts KvCacheManager::PromiseFor(int64_t tokens) const {
  KvBlockCounts blocks{};
  for (size_t c = 0; c < classes_.size(); ++c) blocks[c] = classes_[c]->MostBlocks(tokens);
  return blocks;
}

int64_t KvCacheManager::LongestSequence(int64_t limit) const {
  const KvBudget empty = EmptyBudget();
  int64_t fits = 0, too_long = limit + 1;
  while (fits + 1 < too_long) {
    const int64_t tokens = fits + (too_long - fits) / 2;
    KvBudget budget = empty;
    (budget.TryTake(PromiseFor(tokens)) ? fits : too_long) = tokens;
  }
  return fits;
}

KvBudget KvCacheManager::Budget(bool fenced) const {
  KvBudget budget;
  budget.slab_bytes = static_cast<int64_t>(arena_->slab_bytes());
  budget.num_classes = static_cast<int32_t>(classes_.size());
  budget.total_slabs = arena_->num_slabs();
  for (size_t c = 0; c < classes_.size(); ++c) budget.classes[c] = classes_[c]->Budget(fenced);
  return budget;
}

KvBudget KvCacheManager::EmptyBudget() const {
  KvBudget empty = Budget();
  for (KvBudget::Class& c : empty.classes) c.spoken_for = c.protected_blocks = c.claimed_slabs = 0;
  return empty;
}

bool KvCacheManager::HasFenced() const {
  return std::any_of(classes_.begin(), classes_.end(),
                     [](const auto& cache) { return cache->num_fenced() > 0; });
}

int64_t KvCacheManager::BytesOf(const KvBlockCounts& blocks) const {
  int64_t bytes = 0;
  for (size_t c = 0; c < classes_.size(); ++c) {
    bytes += blocks[c] * static_cast<int64_t>(classes_[c]->layout().BlockBytes());
  }
  return bytes;
}

void KvCacheManager::Admit(SequenceId sequence, int64_t max_tokens) {
  const KvBlockCounts promise = PromiseFor(max_tokens);
  QUIRE_CHECK(Budget().PassingFloors().TryTake(promise)) << "admission beyond the KV budget";
  SequenceKv kv;
  for (size_t c = 0; c < classes_.size(); ++c) {
    kv.tables[c].promised_blocks = promise[c];
    kv.tables[c].blocks.reserve(static_cast<size_t>(classes_[c]->layout().BlocksFor(max_tokens)));
  }
  const bool inserted =
      !swapped_.contains(sequence) && sequences_.emplace(sequence, std::move(kv)).second;
  QUIRE_CHECK(inserted) << "sequence " << sequence.value() << " is admitted already";
  for (size_t c = 0; c < classes_.size(); ++c) classes_[c]->Promise(promise[c]);
}

KvBlockCounts KvCacheManager::MorePromised(SequenceId sequence, int64_t max_tokens) const {
  KvBlockCounts more = PromiseFor(max_tokens);
  const SequenceKv& kv = KvOf(sequence);
  for (size_t c = 0; c < classes_.size(); ++c) {
    more[c] = std::max(0, more[c] - kv.tables[c].promised_blocks);
  }
  return more;
}

void KvCacheManager::Extend(SequenceId sequence, int64_t max_tokens) {
  const KvBlockCounts more = MorePromised(sequence, max_tokens);
  QUIRE_CHECK(Budget().PassingFloors().TryTake(more)) << "a promise beyond the KV budget";
  SequenceKv& kv = KvOf(sequence);
  for (size_t c = 0; c < classes_.size(); ++c) {
    kv.tables[c].promised_blocks += more[c];
    classes_[c]->Promise(more[c]);
  }
}

KvReservation KvCacheManager::Reserve(std::span<const KvNeed> needs) {
  KvReservation reservation(this);
  reservation.growth_.reserve(needs.size());
  for (const KvNeed& need : needs) {
    SequenceKv& kv = KvOf(need.sequence);
    QUIRE_CHECK(need.tokens >= kv.filled_tokens)
        << "sequence " << need.sequence.value() << " has " << kv.filled_tokens
        << " tokens already, not " << need.tokens;
    if (!kv.arriving.empty()) AwaitArrival(&kv);
    KvReservation::Growth& growth = reservation.growth_.emplace_back();
    growth.sequence = need.sequence;
    growth.filled_after = need.tokens;
    for (size_t c = 0; c < classes_.size(); ++c) {
      growth.entries_before[c] = kv.tables[c].blocks.size();
      classes_[c]->Grow(&kv.tables[c], need.tokens, kv.tenant);
    }
  }
  return reservation;
}

void KvCacheManager::Rollback(const KvReservation::Growth& growth) {
  SequenceKv& kv = KvOf(growth.sequence);
  for (size_t c = classes_.size(); c-- > 0;) {
    classes_[c]->Shrink(&kv.tables[c], growth.entries_before[c]);
  }
}

void KvCacheManager::Pass(SequenceId sequence, int64_t kv_len) {
  if (const auto swapped = swapped_.find(sequence); swapped != swapped_.end()) {
    return PassSwapped(&swapped->second, kv_len);
  }
  SequenceKv& kv = KvOf(sequence);
  QUIRE_CHECK(kv_len <= kv.filled_tokens) << kv_len << " of " << kv.filled_tokens;
  for (size_t c = 0; c < classes_.size(); ++c) {
    const int32_t before = kv.tables[c].passed_blocks;
    classes_[c]->Pass(&kv.tables[c], kv_len);
    filled_slots_[c] -= static_cast<int64_t>(kv.tables[c].passed_blocks - before) *
                        classes_[c]->layout().block_tokens;
  }
}

void KvCacheManager::Free(SequenceId sequence, StepId last_launched) {
  if (swapped_.contains(sequence)) return FreeSwapped(sequence);
  SequenceKv& kv = KvOf(sequence);
  if (!kv.arriving.empty()) FreeArriving(&kv, last_launched);
  for (size_t c = 0; c < classes_.size(); ++c) {
    filled_slots_[c] -= FilledSlots(kv, c);
    classes_[c]->Release(kv.tables[c], last_launched);
  }
  sequences_.erase(sequence);
  StepCompleted(completed_step_);
}

void KvCacheManager::StepCompleted(StepId step) {
  QUIRE_CHECK(step >= completed_step_) << "steps complete in launch order";
  completed_step_ = step;
  if (swapper_ != nullptr) TakeTransfers();
  for (auto& cache : classes_) cache->StepCompleted(step);
}

const BlockTable& KvCacheManager::Table(SequenceId sequence, size_t cache_class) const {
  QUIRE_CHECK(cache_class < classes_.size()) << cache_class;
  return KvOf(sequence).tables[cache_class];
}

KvCacheManager::SequenceKv& KvCacheManager::KvOf(SequenceId sequence) {
  return const_cast<SequenceKv&>(std::as_const(*this).KvOf(sequence));
}

const KvCacheManager::SequenceKv& KvCacheManager::KvOf(SequenceId sequence) const {
  const auto it = sequences_.find(sequence);
  QUIRE_CHECK(it != sequences_.end()) << "sequence " << sequence.value() << " holds no KV";
  return it->second;
}

// Slots of the sequence's blocks that hold a token.
int64_t KvCacheManager::FilledSlots(const SequenceKv& kv, size_t cache_class) const {
  return kv.filled_tokens - int64_t{kv.tables[cache_class].passed_blocks} *
                                classes_[cache_class]->layout().block_tokens;
}

KvSnapshot KvCacheManager::Snapshot() const {
  KvSnapshot snapshot;
  snapshot.num_classes = static_cast<int32_t>(classes_.size());
  snapshot.num_slabs = arena_->num_slabs();
  snapshot.arena_bytes = arena_->slab_bytes() * static_cast<size_t>(arena_->num_slabs());
  for (size_t c = 0; c < classes_.size(); ++c) {
    snapshot.classes[c] = classes_[c]->Snapshot();
    // Every reference but a block's first counts a whole block that counts already.
    const KvClassSnapshot& of_class = snapshot.classes[c];
    const int64_t shared = classes_[c]->num_references() - of_class.active_blocks;
    snapshot.classes[c].filled_slots = filled_slots_[c] - shared * of_class.block_tokens;
  }
  snapshot.prefix_queried_tokens = prefix_queried_tokens_;
  snapshot.prefix_hit_tokens = prefix_hit_tokens_;
  if (swapper_ != nullptr) {
    snapshot.host_bytes = swapper_->host().bytes();
    snapshot.host_used_bytes = swapper_->host().used_bytes();
    snapshot.swapped_out_bytes = swapper_->swapped_out_bytes();
    snapshot.swapped_in_bytes = swapper_->swapped_in_bytes();
  }
  return snapshot;
}

std::vector<std::string> KvCacheManager::CheckInvariants() const {
  std::vector<std::string> violations;
  int32_t claimed = 0;
  for (size_t c = 0; c < classes_.size(); ++c) {
    std::vector<const BlockTable*> tables;
    int64_t filled = 0;
    const KvLayout& layout = classes_[c]->layout();
    for (const auto& [sequence, kv] : sequences_) {
      const BlockTable& table = kv.tables[c];
      tables.push_back(&table);
      filled += FilledSlots(kv, c);
      if (static_cast<size_t>(layout.BlocksFor(kv.filled_tokens)) > table.blocks.size()) {
        violations.push_back(
            absl::StrCat("sequence ", sequence.value(), " has tokens and no block"));
      }
    }
    classes_[c]->CheckInvariants(tables, &violations);
    if (filled != filled_slots_[c]) {
      violations.push_back(absl::StrCat("filled slots: ", filled, " != ", filled_slots_[c]));
    }
    claimed += classes_[c]->Budget().claimed_slabs;
  }
  std::vector<const SwapBlock*> out;
  for (const auto& [sequence, kv] : swapped_) {
    for (const auto& blocks : kv.blocks) {
      for (const SwapBlock& block : blocks) out.push_back(&block);
    }
  }
  if (swapper_ != nullptr) swapper_->CheckInvariants(out, &violations);
  if (claimed + arena_->free_slabs() != arena_->num_slabs()) {
    violations.push_back("a slab is nobody's");
  }
  if (Budget().PassingFloors().SlabsNeeded() > arena_->num_slabs()) {
    violations.push_back("more blocks are promised than exist");
  }
  return violations;
}

}  // namespace quire
