#include "core/kv/block_pool.h"

#include <utility>

#include "core/base/check.h"

namespace quire {

BlockPool::BlockPool(int32_t blocks_per_slab, int32_t max_slabs)
    : blocks_per_slab_(blocks_per_slab) {
  QUIRE_CHECK(blocks_per_slab > 0 && max_slabs >= 0) << blocks_per_slab << ", " << max_slabs;
  slabs_.resize(static_cast<size_t>(max_slabs));
  states_.assign(slabs_.size() * static_cast<size_t>(blocks_per_slab), State::kAbsent);
  references_.assign(states_.size(), 0);
  for (int32_t slot = max_slabs - 1; slot >= 0; --slot) unused_slots_.push_back(slot);
  open_.reserve(slabs_.size());
}

int32_t BlockPool::AddSlab() {
  QUIRE_CHECK(!unused_slots_.empty()) << "the pool holds " << num_slabs_ << " slabs already";
  const int32_t slot = unused_slots_.back();
  unused_slots_.pop_back();
  Slab& slab = slabs_[static_cast<size_t>(slot)];
  slab.free.reserve(static_cast<size_t>(blocks_per_slab_));
  for (int32_t i = blocks_per_slab_ - 1; i >= 0; --i) {
    const BlockId block(static_cast<uint32_t>(slot * blocks_per_slab_ + i));
    states_[block.value()] = State::kFree;
    slab.free.push_back(block);
  }
  ++num_slabs_;
  num_free_ += blocks_per_slab_;
  Open(slot);
  return slot;
}

void BlockPool::RemoveSlab(int32_t slot) {
  QUIRE_CHECK(SlabIsFree(slot)) << "slab " << slot << " is in use";
  Slab& slab = slabs_[static_cast<size_t>(slot)];
  for (BlockId block : slab.free) states_[block.value()] = State::kAbsent;
  slab.free.clear();
  Close(slot);
  --num_slabs_;
  num_free_ -= blocks_per_slab_;
  unused_slots_.push_back(slot);
}

bool BlockPool::Allocate(int32_t count, std::vector<BlockId>* blocks) {
  QUIRE_CHECK(count >= 0) << count;
  if (count > num_free()) return false;
  for (int32_t i = 0; i < count; ++i) blocks->push_back(Take());
  return true;
}

BlockId BlockPool::Take() {
  const int32_t slot = open_.back();
  Slab& slab = slabs_[static_cast<size_t>(slot)];
  const BlockId block = slab.free.back();
  slab.free.pop_back();
  if (slab.free.empty()) Close(slot);
  StateOf(block) = State::kHeld;
  references_[block.value()] = 1;
  ++num_references_;
  --num_free_;
  return block;
}

void BlockPool::Share(BlockId block) {
  State& state = StateOf(block);
  QUIRE_CHECK(state != State::kFree) << "block " << block.value() << " is free";
  if (state == State::kReleased) --num_released_;
  if (state == State::kCached) --num_cached_;
  state = State::kHeld;
  ++references_[block.value()];
  ++num_references_;
}

bool BlockPool::Release(BlockId block) {
  QUIRE_CHECK(StateOf(block) == State::kHeld) << "block " << block.value() << " is not held";
  --num_references_;
  if (--references_[block.value()] > 0) return false;
  StateOf(block) = State::kReleased;
  ++num_released_;
  return true;
}

void BlockPool::Cache(BlockId block) {
  QUIRE_CHECK(StateOf(block) == State::kReleased)
      << "block " << block.value() << " is not released";
  StateOf(block) = State::kCached;
  --num_released_;
  ++num_cached_;
}

void BlockPool::Free(BlockId block) {
  State& state = StateOf(block);
  QUIRE_CHECK(state == State::kReleased || state == State::kCached)
      << "block " << block.value() << " is neither released nor cached";
  --(state == State::kReleased ? num_released_ : num_cached_);
  state = State::kFree;
  ++num_free_;
  const int32_t slot = SlotOf(block);
  slabs_[static_cast<size_t>(slot)].free.push_back(block);
  Open(slot);
}

bool BlockPool::SlabIsFree(int32_t slot) const {
  QUIRE_CHECK(slot >= 0 && static_cast<size_t>(slot) < slabs_.size()) << slot;
  return slabs_[static_cast<size_t>(slot)].free.size() == static_cast<size_t>(blocks_per_slab_);
}

// To the back of open_, so that it is the next to be taken from.
void BlockPool::Open(int32_t slot) {
  Slab& slab = slabs_[static_cast<size_t>(slot)];
  if (slab.open_index < 0) {
    slab.open_index = static_cast<int32_t>(open_.size());
    open_.push_back(slot);
  }
  const int32_t last = open_.back();
  if (last == slot) return;
  std::swap(open_[static_cast<size_t>(slab.open_index)], open_.back());
  std::swap(slab.open_index, slabs_[static_cast<size_t>(last)].open_index);
}

void BlockPool::Close(int32_t slot) {
  Slab& slab = slabs_[static_cast<size_t>(slot)];
  const int32_t last = open_.back();
  open_[static_cast<size_t>(slab.open_index)] = last;
  slabs_[static_cast<size_t>(last)].open_index = slab.open_index;
  open_.pop_back();
  slab.open_index = -1;
}

BlockPool::State& BlockPool::StateOf(BlockId block) {
  QUIRE_CHECK(block.value() < states_.size() && states_[block.value()] != State::kAbsent)
      << "block " << block.value() << " is not ours";
  return states_[block.value()];
}

}  // namespace quire
