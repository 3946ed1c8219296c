#include "core/kv/block_pool.h"

#include "core/base/check.h"

namespace quire {

BlockPool::BlockPool(int32_t num_blocks) {
  QUIRE_CHECK(num_blocks >= 0) << num_blocks;
  states_.assign(static_cast<size_t>(num_blocks), State::kFree);
  free_list_.reserve(states_.size());
  for (int32_t i = num_blocks - 1; i >= 0; --i) {
    free_list_.push_back(BlockId(static_cast<uint32_t>(i)));
  }
}

bool BlockPool::Allocate(int32_t count, std::vector<BlockId>* blocks) {
  QUIRE_CHECK(count >= 0) << count;
  if (count > num_free()) return false;
  for (int32_t i = 0; i < count; ++i) {
    const BlockId block = free_list_.back();
    free_list_.pop_back();
    StateOf(block) = State::kHeld;
    blocks->push_back(block);
  }
  return true;
}

void BlockPool::Release(BlockId block) {
  QUIRE_CHECK(StateOf(block) == State::kHeld) << "block " << block.value() << " is not held";
  StateOf(block) = State::kReleased;
  ++num_released_;
}

void BlockPool::Free(BlockId block) {
  QUIRE_CHECK(StateOf(block) == State::kReleased)
      << "block " << block.value() << " is not released";
  StateOf(block) = State::kFree;
  --num_released_;
  free_list_.push_back(block);
}

BlockPool::State& BlockPool::StateOf(BlockId block) {
  QUIRE_CHECK(block.value() < states_.size()) << "block " << block.value() << " is not ours";
  return states_[block.value()];
}

}  // namespace quire
