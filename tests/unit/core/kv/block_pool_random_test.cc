#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "core/kv/block_pool.h"
#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"

// Random operations against a naive pool, which keeps a set of blocks for each state. Replay one
// seed with QUIRE_TEST_SEED.

namespace quire {
namespace {

class RandomPool {
 public:
  explicit RandomPool(uint64_t seed)
      : rng_(seed), per_slab_(Uniform(1, 4)), max_slabs_(Uniform(1, 6)) {}

  void Run(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      switch (Uniform(0, 6)) {
        case 0:
          AddSlab();
          break;
        case 1:
          RemoveSlab();
          break;
        case 2:
          Allocate();
          break;
        case 3:
          Share();
          break;
        case 4:
          Release();
          break;
        case 5:
          if (!released_.empty()) Cache(Pick(released_));
          break;
        case 6:
          Free();
          break;
      }
      Check();
    }
  }

 private:
  int32_t Uniform(int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(rng_);
  }
  template <typename Blocks>
  typename Blocks::value_type Pick(const Blocks& blocks) {
    return *std::next(blocks.begin(), Uniform(0, static_cast<int32_t>(blocks.size()) - 1));
  }

  std::set<BlockId> BlocksOf(int32_t slot) const {
    std::set<BlockId> blocks;
    for (int32_t i = 0; i < per_slab_; ++i) {
      blocks.insert(BlockId(static_cast<uint32_t>(slot * per_slab_ + i)));
    }
    return blocks;
  }
  bool IsFree(int32_t slot) const {
    const std::set<BlockId> blocks = BlocksOf(slot);
    return std::includes(free_.begin(), free_.end(), blocks.begin(), blocks.end());
  }

  void AddSlab() {
    if (static_cast<int32_t>(slots_.size()) == max_slabs_) return;
    const int32_t slot = pool_.AddSlab();
    ASSERT_TRUE(slot >= 0 && slot < max_slabs_ && slots_.insert(slot).second) << slot;
    free_.merge(BlocksOf(slot));
  }

  void RemoveSlab() {
    if (slots_.empty()) return;
    const int32_t slot = Pick(slots_);
    if (!IsFree(slot)) return;
    pool_.RemoveSlab(slot);
    slots_.erase(slot);
    for (BlockId block : BlocksOf(slot)) free_.erase(block);
  }

  void Allocate() {
    const int32_t count = Uniform(0, per_slab_ + 1);
    std::vector<BlockId> blocks = {BlockId(0)};
    const bool enough = count <= static_cast<int32_t>(free_.size());
    ASSERT_EQ(pool_.Allocate(count, &blocks), enough);
    ASSERT_EQ(blocks.size(), enough ? static_cast<size_t>(count) + 1 : 1) << "appends, or nothing";
    for (size_t i = 1; i < blocks.size(); ++i) {
      ASSERT_EQ(free_.erase(blocks[i]), 1u) << "block " << blocks[i].value() << " is not free";
      held_[blocks[i]] = 1;
    }
  }

  void Share() {
    std::vector<BlockId> blocks(released_.begin(), released_.end());
    blocks.insert(blocks.end(), cached_.begin(), cached_.end());
    for (const auto& [block, references] : held_) blocks.push_back(block);
    if (blocks.empty()) return;
    const BlockId block = Pick(blocks);
    pool_.Share(block);
    released_.erase(block);
    cached_.erase(block);
    ++held_[block];
  }

  void Release() {
    if (held_.empty()) return;
    const BlockId block = Pick(held_).first;
    const bool last = --held_[block] == 0;
    ASSERT_EQ(pool_.Release(block), last);
    if (!last) return;
    held_.erase(block);
    released_.insert(block);
  }

  void Cache(BlockId block) {
    pool_.Cache(block);
    released_.erase(block);
    cached_.insert(block);
  }

  void Free() {
    std::set<BlockId>& from = Uniform(0, 1) == 0 ? released_ : cached_;
    if (from.empty()) return;
    const BlockId block = Pick(from);
    pool_.Free(block);
    from.erase(block);
    free_.insert(block);
  }

  void Check() {
    ASSERT_EQ(pool_.num_slabs(), static_cast<int32_t>(slots_.size()));
    ASSERT_EQ(pool_.num_blocks(), static_cast<int32_t>(slots_.size()) * per_slab_);
    ASSERT_EQ(pool_.num_free(), static_cast<int32_t>(free_.size()));
    ASSERT_EQ(pool_.num_held(), static_cast<int32_t>(held_.size()));
    ASSERT_EQ(pool_.num_released(), static_cast<int32_t>(released_.size()));
    ASSERT_EQ(pool_.num_cached(), static_cast<int32_t>(cached_.size()));
    int64_t references = 0;
    for (const auto& [block, count] : held_) references += count;
    ASSERT_EQ(pool_.num_references(), references);
    for (int32_t slot : slots_) {
      ASSERT_EQ(pool_.SlabIsFree(slot), IsFree(slot)) << slot;
      for (BlockId block : BlocksOf(slot)) {
        ASSERT_EQ(pool_.SlotOf(block), slot);
        const auto held = held_.find(block);
        ASSERT_EQ(pool_.references(block), held == held_.end() ? 0 : held->second);
        ASSERT_EQ(pool_.IsReleased(block), released_.contains(block));
        ASSERT_EQ(pool_.IsCached(block), cached_.contains(block));
      }
    }
  }

  std::mt19937_64 rng_;
  const int32_t per_slab_, max_slabs_;
  BlockPool pool_{per_slab_, max_slabs_};
  std::set<int32_t> slots_;
  std::set<BlockId> free_, released_, cached_;
  std::map<BlockId, int32_t> held_;  // and by how many tables
};

TEST(BlockPoolRandomTest, EveryBlockIsInTheStateThatANaivePoolHasItIn) {
  for (uint64_t seed : testing::RandomSeeds(100)) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomPool(seed).Run(500);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace quire
