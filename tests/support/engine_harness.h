#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/engine/engine.h"
#include "tests/support/fake_model_runner.h"
#include "tests/support/manual_clock.h"
#include "tests/support/recording_sink.h"

namespace quire::testing {

// Every seventh id from `first` on: prompts of different `first` begin differently.
inline std::vector<TokenId> SteppedPrompt(int32_t tokens, TokenId first) {
  std::vector<TokenId> prompt;
  prompt.reserve(static_cast<size_t>(tokens));
  for (int32_t i = 0; i < tokens; ++i) prompt.push_back((first + i * 7) % 1000);
  return prompt;
}

// A whole engine on the self-describing fake model and a clock of the test's own, stepped by hand.
struct EngineHarness {
  struct Options {
    FakeModelRunner::Options model;
    EngineOptions engine;
    // Slabs, and how many blocks of the last cache class fit into one.
    int32_t kv_slabs = 64;
    size_t slab_blocks = 1;
    bool prefix_cache = false;
    StopRules stop_rules;
  };

  static Options DefaultOptions() {
    Options options;
    options.engine.max_step_tokens = 64;
    options.engine.max_running_requests = 16;
    options.engine.max_context_tokens = 512;
    options.stop_rules.token_bytes = [](TokenId) { return std::string_view(); };
    return options;
  }

  static KvLayout Layout(int32_t block_tokens) {
    KvLayout layout;
    layout.block_tokens = block_tokens;
    layout.layers = {{.kv_groups = 1, .head_dim = 16}};
    return layout;
  }

  // One class for each of the model's windows; the n-th has n + 1 layers.
  static KvLayouts Layouts(const FakeModelRunner::Options& model) {
    KvLayouts layouts;
    for (size_t c = 0; c < model.windows.size(); ++c) {
      KvLayout& layout = layouts.emplace_back(Layout(model.block_tokens));
      layout.window = model.windows[c];
      layout.layers.resize(c + 1, layout.layers[0]);
    }
    return layouts;
  }

  static FakeModelRunner::Options WithBlockUnits(FakeModelRunner::Options model) {
    model.block_units.clear();
    for (const KvLayout& layout : Layouts(model)) {
      model.block_units.push_back(
          static_cast<uint32_t>(layout.BlockBytes() / kernels::kKvOffsetUnit));
    }
    return model;
  }

  static size_t SlabBytes(const Options& o) {
    return o.slab_blocks * Layouts(o.model).back().BlockBytes();
  }
  static size_t ArenaBytes(const Options& o) {
    return static_cast<size_t>(o.kv_slabs) * SlabBytes(o);
  }

  explicit EngineHarness(const Options& o)
      : options(o),
        arena(ArenaBytes(o), SlabBytes(o)),
        kv(Layouts(o.model), &arena, o.engine.InFlightTokens(o.model.depth)),
        runner(WithBlockUnits(o.model)),
        engine(o.engine, {.runner = &runner,
                          .kv = &kv,
                          .sink = &sink,
                          .clock = &clock,
                          .stop_rules = o.stop_rules}) {
    if (o.prefix_cache) kv.EnablePrefixCache();
  }

  ~EngineHarness() {
    engine.AbortAll();
    RunUntilIdle();
  }

  Request MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens) {
    Request request;
    request.id = engine.NextRequestId();
    request.prompt = std::move(prompt);
    request.sampling.max_tokens = max_tokens;
    request.arrival = clock.Now();
    return request;
  }

  // Steps until nothing is left to do; false when it does not end.
  bool RunUntilIdle(int max_steps = 100000) {
    for (int i = 0; i < max_steps; ++i) {
      clock.Advance(std::chrono::milliseconds(1));
      if (!engine.Step() && engine.live_requests() == 0) return true;
    }
    return false;
  }

  // The tokens the model must give for a prompt, up to its end token or `max_tokens`.
  std::vector<TokenId> Expected(std::vector<TokenId> prefix, int32_t max_tokens,
                                const SamplingParams& rules = {}) const {
    const size_t prompt_tokens = prefix.size();
    std::vector<TokenId> tokens;
    while (static_cast<int32_t>(tokens.size()) < max_tokens) {
      const auto next = ExpectedToken(options.model, prefix, prompt_tokens, rules);
      if (!next.has_value()) break;
      tokens.push_back(*next);
      prefix.push_back(*next);
      if (*next == options.model.eos) break;
    }
    return tokens;
  }

  const Options options;
  ManualClock clock;
  RecordingSink sink;
  SlabArena arena;
  KvCacheManager kv;
  FakeModelRunner runner;
  Engine engine;
};

}  // namespace quire::testing
