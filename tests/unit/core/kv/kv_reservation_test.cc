#include "core/kv/kv_reservation.h"

#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/kv/small_kv_cache.h"

namespace quire {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr SequenceId kA(1), kB(2);

class KvReservationTest : public ::testing::Test {
 protected:
  KvReservationTest() {
    cache_.kv.Admit(kA, 64);
    cache_.kv.Admit(kB, 48);
    cache_.Grow(kA, 20);
  }
  ~KvReservationTest() override { EXPECT_THAT(cache_.kv.CheckInvariants(), IsEmpty()); }

  SmallKvCache cache_{10};
  KvCacheManager& kv_ = cache_.kv;
};

TEST_F(KvReservationTest, WithoutCommitItLeavesTablesAndPoolAsTheyWere) {
  const std::vector<BlockId> before = kv_.Table(kA).blocks;
  {
    const KvNeed needs[] = {{kA, 64}, {kB, 17}};
    const KvReservation reservation = kv_.Reserve(needs);
    EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(4));
    EXPECT_THAT(kv_.Table(kB).blocks, SizeIs(2));
    EXPECT_EQ(kv_.Snapshot().classes[0].free_blocks, 4);
  }
  EXPECT_EQ(kv_.Table(kA).blocks, before);
  EXPECT_THAT(kv_.Table(kB).blocks, IsEmpty());
  EXPECT_EQ(kv_.Snapshot().classes[0].free_blocks, 8);
  EXPECT_EQ(kv_.Snapshot().classes[0].filled_slots, 20);
  EXPECT_EQ(kv_.Snapshot().classes[0].fenced_blocks, 0) << "no launched step saw the blocks";
}

TEST_F(KvReservationTest, TheBlocksOfARolledBackReservationAreTakenAgainInTheSameOrder) {
  const KvNeed needs[] = {{kA, 64}, {kB, 48}};
  std::vector<BlockId> first_a, first_b;
  {
    const KvReservation reservation = kv_.Reserve(needs);
    first_a = kv_.Table(kA).blocks;
    first_b = kv_.Table(kB).blocks;
  }
  const KvReservation again = kv_.Reserve(needs);
  EXPECT_EQ(kv_.Table(kA).blocks, first_a);
  EXPECT_EQ(kv_.Table(kB).blocks, first_b);
}

TEST_F(KvReservationTest, TokensCountAsFilledFromCommitOn) {
  const KvNeed needs[] = {{kA, 33}, {kB, 1}};
  KvReservation reservation = kv_.Reserve(needs);
  EXPECT_EQ(kv_.Snapshot().classes[0].filled_slots, 20);
  reservation.Commit();
  EXPECT_EQ(kv_.Snapshot().classes[0].filled_slots, 34);
}

TEST_F(KvReservationTest, RollingBackGivesBackOnlyWhatItTook) {
  cache_.Grow(kA, 33);
  {
    const KvNeed need{kA, 40};  // fits the third block
    const KvReservation reservation = kv_.Reserve({&need, 1});
    EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(3));
  }
  EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(3));
}

TEST_F(KvReservationTest, TwoGrowthsOfOneSequenceRollBackTogether) {
  {
    const KvNeed needs[] = {{kA, 40}, {kA, 60}};
    const KvReservation reservation = kv_.Reserve(needs);
    EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(4));
  }
  EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(2));
}

TEST_F(KvReservationTest, MovingHandsOverTheDuty) {
  const KvNeed need{kA, 64};
  std::optional<KvReservation> from(kv_.Reserve({&need, 1}));
  std::optional<KvReservation> to(std::move(*from));
  from.reset();
  EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(4)) << "the moved-from one gives nothing back";
  to.reset();
  EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(2));
}

TEST_F(KvReservationTest, AMovedFromReservationDoesNotUndoACommit) {
  const KvNeed need{kA, 64};
  {
    KvReservation from = kv_.Reserve({&need, 1});
    KvReservation to = std::move(from);
    to.Commit();
  }
  EXPECT_THAT(kv_.Table(kA).blocks, SizeIs(4));
}

TEST_F(KvReservationTest, CommittingTwiceIsABrokenInvariant) {
  const KvNeed need{kA, 21};
  KvReservation reservation = kv_.Reserve({&need, 1});
  reservation.Commit();
  EXPECT_DEATH(reservation.Commit(), "committed once");
}

}  // namespace
}  // namespace quire
