#include "server/cli/fleet/replica_state.h"

#include <gtest/gtest.h>

namespace quire::cli {
namespace {

using std::chrono::milliseconds;

constexpr TimePoint kStart = TimePoint(std::chrono::hours(1));

ReplicaState Loaded(int64_t load) { return {.load = load, .tenants = {{.tokens = load}}}; }

TEST(AgedStateTest, WithoutAPeriodItIsWhatItIs) {
  AgedState state(Duration::zero(), kStart, 1);
  EXPECT_EQ(state.seen().load, 0);
  EXPECT_EQ(state.seen().tenants.size(), 1u);
  state.Update(kStart, Loaded(5));
  EXPECT_EQ(state.seen().load, 5);
  state.AddTokens(kStart + milliseconds(1), 0, 2);
  EXPECT_EQ(state.seen().load, 7);
  EXPECT_EQ(state.seen().tenants[0].tokens, 7);
}

TEST(AgedStateTest, BetweenTwoLooksNothingIsKnown) {
  const TimePoint first = kStart + milliseconds(30);
  AgedState state(milliseconds(100), first, 1);
  const auto seen_at = [&](int ms) {
    state.Look(kStart + milliseconds(ms));
    return state.seen().load;
  };
  state.Update(kStart + milliseconds(10), Loaded(1));
  EXPECT_EQ(seen_at(20), 0);
  EXPECT_EQ(seen_at(30), 1);
  state.Update(kStart + milliseconds(40), Loaded(2));
  EXPECT_EQ(seen_at(129), 1);
  EXPECT_EQ(seen_at(130), 2);
}

TEST(AgedStateTest, ALookThatNobodyMadeInTimeSeesWhatWasThen) {
  AgedState state(milliseconds(100), kStart, 1);
  state.Update(kStart + milliseconds(1), Loaded(1));
  state.Update(kStart + milliseconds(150), Loaded(2));  // 1 was there when it was 100 ms
  state.AddTokens(kStart + milliseconds(160), 0, 1);
  state.Look(kStart + milliseconds(170));
  EXPECT_EQ(state.seen().load, 1);
  state.Look(kStart + milliseconds(250));
  EXPECT_EQ(state.seen().load, 3);
}

}  // namespace
}  // namespace quire::cli
