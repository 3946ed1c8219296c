#include "tests/support/engine_harness.h"

#include <chrono>
#include <cstddef>
#include <string_view>
#include <utility>

#include "core/base/check.h"
#include "tests/support/make_request.h"

namespace quire::testing {
namespace {

kernels::DeviceBuffer KvMemory(const EngineHarness::Options& o, FakeSwapDevice* device) {
  kernels::DeviceBuffer memory;
  if (o.swap_bytes > 0) QUIRE_CHECK(device->Allocate(EngineHarness::ArenaBytes(o), &memory).ok());
  return memory;
}

}  // namespace

std::vector<TokenId> SteppedPrompt(int32_t tokens, TokenId first) {
  std::vector<TokenId> prompt;
  prompt.reserve(static_cast<size_t>(tokens));
  for (int32_t i = 0; i < tokens; ++i) prompt.push_back((first + i * 7) % 1000);
  return prompt;
}

EngineHarness::Options EngineHarness::DefaultOptions() {
  Options options;
  options.engine.max_step_tokens = 64;
  options.engine.max_running_requests = 16;
  options.engine.max_context_tokens = 512;
  options.stop_rules.token_bytes = [](TokenId) { return std::string_view(); };
  return options;
}

KvLayout EngineHarness::Layout(int32_t block_tokens) {
  KvLayout layout;
  layout.block_tokens = block_tokens;
  layout.layers = {{.kv_groups = 1, .head_dim = 16}};
  return layout;
}

KvLayouts EngineHarness::Layouts(const FakeModelRunner::Options& model) {
  KvLayouts layouts;
  for (size_t c = 0; c < model.windows.size(); ++c) {
    KvLayout& layout = layouts.emplace_back(Layout(model.block_tokens));
    layout.window = model.windows[c];
    layout.layers.resize(c + 1, layout.layers[0]);
  }
  return layouts;
}

FakeModelRunner::Options EngineHarness::WithBlockUnits(FakeModelRunner::Options model) {
  model.block_units.clear();
  for (const KvLayout& layout : Layouts(model)) {
    model.block_units.push_back(
        static_cast<uint32_t>(layout.BlockBytes() / kernels::kKvOffsetUnit));
  }
  return model;
}

size_t EngineHarness::SlabBytes(const Options& o) {
  return o.slab_blocks * Layouts(o.model).back().BlockBytes();
}

size_t EngineHarness::ArenaBytes(const Options& o) {
  return static_cast<size_t>(o.kv_slabs) * SlabBytes(o);
}

EngineHarness::EngineHarness(const Options& o)
    : options(o),
      device(o.swap_seed),
      memory(KvMemory(o, &device)),
      arena(ArenaBytes(o), SlabBytes(o)),
      kv(Layouts(o.model), &arena, o.engine.InFlightTokens(o.model.depth)),
      runner(WithBlockUnits(o.model), o.swap_bytes > 0 ? &device : nullptr, memory.data()),
      engine(o.engine, {.runner = &runner,
                        .kv = &kv,
                        .sink = &sink,
                        .clock = &clock,
                        .swap_seconds_per_byte = o.swap_seconds_per_byte,
                        .stop_rules = o.stop_rules}) {
  if (o.prefix_cache) kv.EnablePrefixCache();
  if (o.swap_bytes == 0) return;
  auto swapper =
      BlockSwapper::Create(&device, memory.data(), Layouts(o.model), {.host_bytes = o.swap_bytes});
  QUIRE_CHECK(swapper.ok()) << swapper.status().ToString();
  kv.SetSwapper(*std::move(swapper));
}

EngineHarness::~EngineHarness() {
  engine.AbortAll();
  RunUntilIdle();
}

Request EngineHarness::MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens) {
  return testing::MakeRequest(&engine, clock, std::move(prompt), max_tokens);
}

bool EngineHarness::RunUntilIdle(int max_steps) {
  for (int i = 0; i < max_steps; ++i) {
    clock.Advance(std::chrono::milliseconds(1));
    if (!engine.Step() && engine.live_requests() == 0) return true;
  }
  return false;
}

std::vector<TokenId> EngineHarness::Expected(std::vector<TokenId> prefix, int32_t max_tokens,
                                             const SamplingParams& rules) const {
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

}  // namespace quire::testing
