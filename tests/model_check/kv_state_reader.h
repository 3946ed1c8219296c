#pragma once

#include <cstdint>
#include <span>

#include "core/kv/kv_cache_manager.h"
#include "tests/model_check/state_key.h"

namespace quire {

// Reads all of a manager's state that decides what it does next, beyond what its interface shows:
// the order of free lists, fences and unused blocks, which prefix nodes hang behind which. One
// cache class, no swapper. The quotas of tenants do not change.
class KvStateReader {
 public:
  // `sequences`: all that may be admitted, in an order that means the same in every state.
  static void AddTo(const KvCacheManager& kv, std::span<const SequenceId> sequences,
                    testing::StateKey* key);
  static int64_t PrefixNodes(const KvCacheManager& kv) { return kv.classes_[0]->prefix_.size(); }
  // From now on all keys of the prefix cache collide, so that comparing has to tell them apart.
  static void LetHashesCollide(KvCacheManager* kv);
  // Where a block is in the arena, counted in blocks.
  static int32_t PlaceOf(const KvCacheManager& kv, BlockId block);

 private:
  static void AddSequences(const KvCacheManager& kv, std::span<const SequenceId> sequences,
                           testing::StateKey* key);
  static void AddPool(const KvCacheManager& kv, testing::StateKey* key);
  static void AddPrefix(const KvCacheManager& kv, testing::StateKey* key);
};

}  // namespace quire
