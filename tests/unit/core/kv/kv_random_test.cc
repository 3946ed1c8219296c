#include <map>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"
#include "tests/unit/core/kv/small_kv_cache.h"

// Random admissions, growths, rollbacks, frees and completions against a naive model that keeps
// the set of blocks each sequence holds and the step each freed block waits for. Replay one seed
// with QUIRE_TEST_SEED.

namespace quire {
namespace {

class RandomWalk {
 public:
  RandomWalk(uint64_t seed, int depth) : rng_(seed), depth_(depth), cache_(Uniform(1, 12)) {}

  void Run(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      switch (Uniform(0, 3)) {
        case 0:
          Admit();
          break;
        case 1:
          Step();
          break;
        case 2:
          FreeOne();
          break;
        case 3:
          CompleteOldest();
          break;
      }
      Check();
    }
  }

 private:
  struct Live {
    int64_t max_tokens = 0;
    int64_t tokens = 0;
  };

  int Uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }

  void Admit() {
    const int64_t max_tokens = Uniform(1, 100);
    KvBudget budget = kv_.Budget();
    if (!budget.TryTake(kv_.PromiseFor(max_tokens))) return;
    kv_.Admit(SequenceId(++next_id_), max_tokens);
    live_[next_id_].max_tokens = max_tokens;
  }

  void Step() {
    if (launched_ - completed_ > static_cast<uint64_t>(depth_)) CompleteOldest();
    std::vector<KvNeed> needs;
    for (auto& [id, live] : live_) {
      if (live.tokens == live.max_tokens || Uniform(0, 1) == 0) continue;
      const auto room = static_cast<int>(live.max_tokens - live.tokens);
      needs.push_back({SequenceId(id), live.tokens + Uniform(1, room)});
    }
    KvReservation reservation = kv_.Reserve(needs);
    if (Uniform(0, 3) == 0) return;  // rolled back
    reservation.Commit();
    ++launched_;
    for (const KvNeed& need : needs) live_[need.sequence.value()].tokens = need.tokens;
  }

  void FreeOne() {
    if (live_.empty()) return;
    const auto it = std::next(live_.begin(), Uniform(0, static_cast<int>(live_.size()) - 1));
    for (BlockId block : kv_.Table(SequenceId(it->first)).blocks) {
      if (launched_ > completed_) waits_for_[block] = launched_;
    }
    kv_.Free(SequenceId(it->first), StepId(launched_));
    live_.erase(it);
  }

  void CompleteOldest() {
    if (completed_ == launched_) return;
    kv_.StepCompleted(StepId(++completed_));
    std::erase_if(waits_for_, [this](const auto& entry) { return entry.second <= completed_; });
  }

  void Check() {
    ASSERT_THAT(kv_.CheckInvariants(), ::testing::IsEmpty());
    std::set<BlockId> held;
    int64_t tokens = 0, promised = 0;
    for (const auto& [id, live] : live_) {
      const BlockTable& table = kv_.Table(SequenceId(id));
      ASSERT_EQ(table.blocks.size(), static_cast<size_t>(SmallLayout().BlocksFor(live.tokens)));
      for (BlockId block : table.blocks) {
        ASSERT_TRUE(held.insert(block).second) << "two owners";
        ASSERT_FALSE(waits_for_.contains(block)) << "a launched step may still touch it";
      }
      tokens += live.tokens;
      promised += SmallLayout().BlocksFor(live.max_tokens);
    }
    const KvClassSnapshot snapshot = kv_.Snapshot().classes[0];
    const auto active = static_cast<int64_t>(held.size());
    const auto fenced = static_cast<int64_t>(waits_for_.size());
    ASSERT_EQ(snapshot.active_blocks, active);
    ASSERT_EQ(snapshot.fenced_blocks, fenced);
    ASSERT_EQ(snapshot.free_blocks, kv_.Snapshot().classes[0].total_blocks - active - fenced);
    ASSERT_EQ(snapshot.promised_blocks, promised - active);
    ASSERT_EQ(snapshot.filled_slots, tokens);
    ASSERT_EQ(kv_.Budget().FreeSlabs(), kv_.Snapshot().classes[0].total_blocks - promised - fenced);
  }

  std::mt19937_64 rng_;
  const int depth_;
  SmallKvCache cache_;
  KvCacheManager& kv_ = cache_.kv;
  std::map<uint64_t, Live> live_;
  std::map<BlockId, uint64_t> waits_for_;
  uint64_t next_id_ = 0, launched_ = 0, completed_ = 0;
};

TEST(KvRandomTest, EveryBlockIsWhereANaiveModelSaysItIs) {
  for (uint64_t seed : testing::RandomSeeds(60)) {
    if (HasFailure()) return;
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomWalk(seed, static_cast<int>(seed % 2)).Run(300);
  }
}

}  // namespace
}  // namespace quire
