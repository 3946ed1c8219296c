#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "core/engine/engine.h"
#include "tests/support/engine_harness.h"
#include "tests/support/make_request.h"
#include "tests/unit/core/engine/event_log.h"

namespace quire::testing {

// An engine around a runner of the test's own. EngineHarness is the choice where the fake model
// and its recording sink are enough.
struct BareEngine {
  static EngineOptions DefaultOptions() { return EngineHarness::DefaultOptions().engine; }
  static size_t BlockBytes() { return EngineHarness::Layout(16).BlockBytes(); }
  static size_t ArenaBytes(int32_t blocks) { return static_cast<size_t>(blocks) * BlockBytes(); }
  static StopRules DefaultRules() { return EngineHarness::DefaultOptions().stop_rules; }

  explicit BareEngine(ModelRunner* runner, const EngineOptions& options = DefaultOptions(),
                      StopRules rules = DefaultRules(), int32_t kv_blocks = 64,
                      const Clock* other_clock = nullptr)
      : arena(ArenaBytes(kv_blocks), BlockBytes()),
        kv({EngineHarness::Layout(16)}, &arena, options.InFlightTokens(runner->in_flight_depth())),
        engine(options, {.runner = runner,
                         .kv = &kv,
                         .sink = &log,
                         .clock = other_clock != nullptr ? other_clock : &clock,
                         .stop_rules = std::move(rules)}) {}

  Request MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens) {
    return testing::MakeRequest(&engine, clock, std::move(prompt), max_tokens);
  }

  // Submits and returns the id; the engine must accept it.
  RequestId Submit(Request request) {
    const RequestId id = request.id;
    const absl::Status status = engine.Submit(std::move(request));
    EXPECT_TRUE(status.ok()) << status;
    return id;
  }

  void RunUntilIdle() {
    for (int i = 0; i < 100000; ++i) {
      if (!engine.Step() && engine.live_requests() == 0) return;
    }
    ADD_FAILURE() << "requests never end";
  }

  ManualClock clock;
  EventLog log;
  SlabArena arena;
  KvCacheManager kv;
  Engine engine;
};

}  // namespace quire::testing
