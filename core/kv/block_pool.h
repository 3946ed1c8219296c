#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"

namespace quire {

// Which blocks of one cache class are free. The pool holds slabs of equally many blocks, in
// numbered slots; its blocks are those of the slabs it holds at the moment. Every block is in
// exactly one state:
//
//   free     nobody's
//   held     named by block tables, one or more
//   released no table names it, but a launched step or a copy may still touch it
//   cached   no table names it, but its content may be asked for again
//
// free + held + released + cached == num_blocks. All operations are O(1) a block; misuse (double
// free, a foreign id) is a broken invariant. No memory and no tokens in here. Engine thread only;
// copyable, so that a checker can explore it.
class BlockPool {
 public:
  // Holds no slab yet. `max_slabs` is how many it may come to hold.
  BlockPool(int32_t blocks_per_slab, int32_t max_slabs);

  // Adds a slab of free blocks and returns its slot: its blocks are slot * blocks_per_slab + i.
  int32_t AddSlab();
  // The slab in `slot` must be all free.
  void RemoveSlab(int32_t slot);

  // Appends `count` blocks to `blocks`, or changes nothing and returns false when fewer are free.
  // The block freed last comes first, then the others of its slab.
  [[nodiscard]] bool Allocate(int32_t count, std::vector<BlockId>* blocks);
  // One more table names the block, which is not free: -> held.
  void Share(BlockId block);
  // A table lets go of the block. True where it was the last one: held -> released.
  bool Release(BlockId block);
  void Cache(BlockId block);  // released -> cached
  void Free(BlockId block);   // released or cached -> free

  int32_t SlotOf(BlockId block) const {
    return static_cast<int32_t>(block.value()) / blocks_per_slab_;
  }
  bool SlabIsFree(int32_t slot) const;
  int32_t blocks_per_slab() const { return blocks_per_slab_; }
  int32_t num_slabs() const { return num_slabs_; }
  int32_t num_blocks() const { return num_slabs_ * blocks_per_slab_; }
  int32_t num_free() const { return num_free_; }
  int32_t num_released() const { return num_released_; }
  int32_t num_cached() const { return num_cached_; }
  int32_t num_held() const { return num_blocks() - num_free() - num_released() - num_cached(); }
  // How often tables name blocks, all together.
  int64_t num_references() const { return num_references_; }
  int32_t references(BlockId block) const { return references_.at(block.value()); }
  bool IsReleased(BlockId block) const { return states_.at(block.value()) == State::kReleased; }
  bool IsCached(BlockId block) const { return states_.at(block.value()) == State::kCached; }

 private:
  friend class KvStateReader;  // of tests/model_check
  enum class State : uint8_t { kAbsent, kFree, kHeld, kReleased, kCached };
  struct Slab {
    std::vector<BlockId> free;  // a stack: the block freed last is the warmest
    int32_t open_index = -1;    // its place in open_; -1: no free block
  };

  State& StateOf(BlockId block);
  void Open(int32_t slot);
  void Close(int32_t slot);
  BlockId Take();

  int32_t blocks_per_slab_;
  std::vector<Slab> slabs_;            // by slot
  std::vector<State> states_;          // by block
  std::vector<int32_t> references_;    // by block: tables that name it
  std::vector<int32_t> unused_slots_;  // a stack, the lowest on top at first
  std::vector<int32_t> open_;          // slots with a free block; allocation takes from the back
  int32_t num_slabs_ = 0;
  int32_t num_free_ = 0;
  int32_t num_released_ = 0;
  int32_t num_cached_ = 0;
  int64_t num_references_ = 0;
};

}  // namespace quire
