#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_harness.h"

// Requests whose clients do not read what there is: at in-flight depth 0 and 1, with KV that is
// computed again or comes back from the host.

namespace quire::testing {
namespace {

using ::testing::IsEmpty;

constexpr Duration kGrace = std::chrono::seconds(1);
constexpr int32_t kTokens = 60;

struct Case {
  int depth = 0;
  bool swaps = false;
};

class EnginePauseTest : public ::testing::TestWithParam<Case> {
 protected:
  static EngineHarness::Options Options() {
    EngineHarness::Options options = EngineHarness::DefaultOptions();
    options.model.depth = GetParam().depth;
    options.engine.max_running_requests = 1;
    options.engine.pause_grace = kGrace;
    if (GetParam().swaps) {
      options.swap_bytes = 64 * EngineHarness::SlabBytes(options);
      options.swap_seconds_per_byte = 1e-12;
    }
    return options;
  }

  RequestId Submit(TokenId first) {
    Request request = h_.MakeRequest(SteppedPrompt(20, first), kTokens);
    const RequestId id = request.id;
    EXPECT_TRUE(h_.engine.Submit(std::move(request)).ok());
    return id;
  }
  void StepFor(int steps) {
    for (int i = 0; i < steps; ++i) {
      h_.clock.Advance(std::chrono::microseconds(1));  // or computing would seem to cost nothing
      h_.engine.Step();
      ASSERT_THAT(h_.engine.Violations(), IsEmpty());
    }
  }
  // What is not paused to its end.
  void RunUntilRest() {
    for (int i = 0; i < 1000; ++i) {
      h_.clock.Advance(std::chrono::milliseconds(1));
      if (!h_.engine.Step()) return;
    }
    FAIL() << "it does not come to rest";
  }
  size_t Drawn(RequestId id) { return h_.sink.of(id).tokens.size(); }
  // Steps until so many tokens are there.
  void DrawAtLeast(RequestId id, size_t tokens) {
    for (int i = 0; i < 100 && Drawn(id) < tokens; ++i) StepFor(1);
    ASSERT_GE(Drawn(id), tokens);
  }
  void ExpectWhole(RequestId id, TokenId first) {
    EXPECT_EQ(h_.sink.of(id).tokens, h_.Expected(SteppedPrompt(20, first), kTokens));
    EXPECT_EQ(h_.sink.of(id).terminals, 1);
  }

  EngineHarness h_{Options()};
};

INSTANTIATE_TEST_SUITE_P(All, EnginePauseTest,
                         ::testing::Values(Case{0, false}, Case{1, false}, Case{1, true}),
                         [](const auto& param) {
                           return std::string(param.param.swaps ? "Swaps" : "Depth") +
                                  std::to_string(param.param.depth);
                         });

TEST_P(EnginePauseTest, NoMoreIsDrawnUntilItGoesOn) {
  const RequestId id = Submit(1);
  DrawAtLeast(id, 5);
  h_.engine.SetPaused(id, true);
  StepFor(3);
  const size_t drawn = Drawn(id);
  StepFor(5);
  EXPECT_EQ(Drawn(id), drawn);
  EXPECT_FALSE(h_.engine.Step()) << "there is nothing to compute";
  EXPECT_EQ(h_.engine.Stats().paused, 1);
  EXPECT_EQ(h_.engine.Stats().running, 1);
  EXPECT_EQ(h_.engine.Progress().live_requests, 0) << "a watchdog is not to wait for it";
  h_.clock.Advance(kGrace / 2);
  h_.engine.SetPaused(id, false);
  EXPECT_TRUE(h_.RunUntilIdle());
  EXPECT_EQ(h_.engine.Stats().paused, 0);
  EXPECT_EQ(h_.engine.Tenants()[0].load.preempted, 0u);
  EXPECT_LT(h_.engine.Stats().inter_token.sum, ToSeconds(kGrace / 2)) << "the client's own time";
  ExpectWhole(id, 1);
}

TEST_P(EnginePauseTest, AfterAWhileAnotherHasItsPlaceAndItGoesOnLater) {
  const RequestId id = Submit(1);
  DrawAtLeast(id, 5);
  h_.engine.SetPaused(id, true);
  const RequestId other = Submit(2);
  StepFor(3);
  h_.clock.Advance(kGrace - std::chrono::milliseconds(1));
  StepFor(3);
  EXPECT_EQ(Drawn(other), 0u);
  h_.clock.Advance(std::chrono::milliseconds(1));
  DrawAtLeast(other, 5);
  EXPECT_EQ(h_.engine.Stats().waiting, 1);
  RunUntilRest();
  ExpectWhole(other, 2);
  EXPECT_EQ(h_.kv.Snapshot().classes[0].active_blocks, 0);
  h_.engine.SetPaused(id, false);
  EXPECT_TRUE(h_.RunUntilIdle());
  ExpectWhole(id, 1);
  EXPECT_EQ(h_.engine.Tenants()[0].load.swapped_out, GetParam().swaps ? 1u : 0u);
}

TEST_P(EnginePauseTest, ItEndsWhileItIsPausedAsAtAnyTime) {
  for (const bool aside : {false, true}) {
    SCOPED_TRACE(aside);
    const RequestId id = Submit(1);
    DrawAtLeast(id, 5);
    h_.engine.SetPaused(id, true);
    StepFor(3);
    if (aside) h_.clock.Advance(kGrace);
    StepFor(3);
    EXPECT_EQ(h_.engine.Stats().waiting, aside ? 1 : 0);
    h_.engine.Cancel(id);
    StepFor(3);
    EXPECT_EQ(h_.engine.live_requests(), 0);
    EXPECT_EQ(h_.engine.Stats().paused, 0);
    EXPECT_TRUE(h_.engine.Stats().kv.AllFree());
    h_.engine.SetPaused(id, false);
    h_.engine.SetPaused(id, true);
    StepFor(2);
    EXPECT_EQ(h_.engine.Stats().paused, 0);
  }
}

TEST_P(EnginePauseTest, OneThatWaitsIsSetAsideTooAndTheNextStarts) {
  const RequestId running = Submit(1);
  StepFor(2);
  const RequestId paused = Submit(2);
  const RequestId last = Submit(3);
  h_.engine.SetPaused(paused, true);
  StepFor(1);
  h_.clock.Advance(kGrace);
  RunUntilRest();
  ExpectWhole(running, 1);
  ExpectWhole(last, 3);
  EXPECT_EQ(Drawn(paused), 0u);
  h_.engine.SetPaused(paused, false);
  EXPECT_TRUE(h_.RunUntilIdle());
  ExpectWhole(paused, 2);
}

TEST_P(EnginePauseTest, ADrainWaitsForNobodyWhoDoesNotRead) {
  const RequestId aside = Submit(1);
  DrawAtLeast(aside, 1);
  h_.engine.SetPaused(aside, true);
  StepFor(2);
  h_.clock.Advance(kGrace);
  const RequestId paused = Submit(2);
  DrawAtLeast(paused, 1);
  h_.engine.SetPaused(paused, true);
  StepFor(2);
  EXPECT_EQ(h_.engine.Stats().paused, 2);
  h_.engine.StopAccepting();
  StepFor(1);
  EXPECT_EQ(h_.engine.Stats().paused, 0);
  h_.engine.SetPaused(paused, true);
  EXPECT_TRUE(h_.RunUntilIdle());
  ExpectWhole(aside, 1);
  ExpectWhole(paused, 2);
}

TEST_P(EnginePauseTest, WhoIsPausedAgainAndAgainIsComputedOn) {
  const RequestId id = Submit(1);
  DrawAtLeast(id, 1);
  for (int i = 0; i < h_.options.engine.max_preemptions; ++i) {
    h_.engine.SetPaused(id, true);
    StepFor(2);
    h_.clock.Advance(kGrace);
    StepFor(2);
    EXPECT_EQ(h_.engine.Stats().paused, 1);
    h_.engine.SetPaused(id, false);
    DrawAtLeast(id, Drawn(id) + 1);
  }
  h_.engine.SetPaused(id, true);
  EXPECT_TRUE(h_.RunUntilIdle());
  EXPECT_EQ(h_.engine.Stats().paused, 0);
  ExpectWhole(id, 1);
}

}  // namespace
}  // namespace quire::testing
