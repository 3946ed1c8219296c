#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/engine/engine.h"
#include "tests/support/fake_model_runner.h"
#include "tests/support/manual_clock.h"
#include "tests/support/recording_sink.h"

namespace quire::testing {

// Every seventh id from `first` on: prompts of different `first` begin differently.
std::vector<TokenId> SteppedPrompt(int32_t tokens, TokenId first);

// A whole engine on the self-describing fake model and a clock of the test's own, stepped by hand.
struct EngineHarness {
  struct Options {
    FakeModelRunner::Options model;
    EngineOptions engine;
    // Slabs, and how many blocks of the last cache class fit into one.
    int32_t kv_slabs = 64;
    size_t slab_blocks = 1;
    bool prefix_cache = false;
    // Host memory that KV is swapped to, on a FakeSwapDevice; 0: preempted ones compute it again.
    size_t swap_bytes = 0;
    double swap_seconds_per_byte = 0;
    uint64_t swap_seed = 1;
    StopRules stop_rules;
  };

  static Options DefaultOptions();
  static KvLayout Layout(int32_t block_tokens);
  // One class for each of the model's windows; the n-th has n + 1 layers.
  static KvLayouts Layouts(const FakeModelRunner::Options& model);
  static FakeModelRunner::Options WithBlockUnits(FakeModelRunner::Options model);
  static size_t SlabBytes(const Options& o);
  static size_t ArenaBytes(const Options& o);

  explicit EngineHarness(const Options& o);
  ~EngineHarness();

  Request MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens);
  // Steps until nothing is left to do; false when it does not end.
  bool RunUntilIdle(int max_steps = 100000);
  // The tokens the model must give for a prompt, up to its end token or `max_tokens`.
  std::vector<TokenId> Expected(std::vector<TokenId> prefix, int32_t max_tokens,
                                const SamplingParams& rules = {}) const;

  const Options options;
  ManualClock clock;
  RecordingSink sink;
  FakeSwapDevice device;  // unused without swapping
  kernels::DeviceBuffer memory;
  SlabArena arena;
  KvCacheManager kv;
  FakeModelRunner runner;
  Engine engine;
};

}  // namespace quire::testing
