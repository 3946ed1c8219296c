#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"

namespace quire {

// Which blocks are free. Every block is in exactly one state:
//
//   free     on the free list
//   held     named by one block table
//   released no table names it, but it is not free yet (a launched step may still touch it)
//
// free + held + released == num_blocks. All operations are O(1) a block; misuse (double free, a
// foreign id) is a broken invariant. No memory and no tokens in here. Engine thread only;
// copyable, so that a checker can explore it.
class BlockPool {
 public:
  explicit BlockPool(int32_t num_blocks);

  // Appends `count` blocks to `blocks`, or changes nothing and returns false when fewer are free.
  [[nodiscard]] bool Allocate(int32_t count, std::vector<BlockId>* blocks);
  void Release(BlockId block);  // held -> released
  void Free(BlockId block);     // released -> free

  int32_t num_blocks() const { return static_cast<int32_t>(states_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_list_.size()); }
  int32_t num_released() const { return num_released_; }
  int32_t num_held() const { return num_blocks() - num_free() - num_released_; }

 private:
  enum class State : uint8_t { kFree, kHeld, kReleased };

  State& StateOf(BlockId block);

  std::vector<BlockId> free_list_;  // a stack: the block freed last is the warmest
  std::vector<State> states_;
  int32_t num_released_ = 0;
};

}  // namespace quire
