#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/engine/engine.h"
#include "core/model/transformer_runner.h"
#include "kernels/api/device.h"
#include "tests/support/recording_sink.h"

namespace quire::testing {

// An engine on a real model and the CPU back end, stepped by hand, with its KV bytes in reach.
class ModelHarness {
 public:
  struct Options {
    std::string model_dir;
    int32_t threads = 1;
    int32_t block_tokens = 16;
    bool prefix_cache = false;
    size_t kv_bytes = size_t{32} << 20;
    EngineOptions engine;
  };

  explicit ModelHarness(const Options& options);
  ~ModelHarness();

  Request MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens);
  const ModelConfig& config() const { return config_; }
  Engine& engine() { return *engine_; }
  const KvCacheManager& kv() const { return *kv_; }
  RecordingSink& sink() { return sink_; }

  // Steps until `id` has ended. Returns the bytes of its full KV blocks, in logical order, as the
  // last step that it was part of left them.
  std::vector<std::byte> RunToEnd(RequestId id);

 private:
  void ReadBlocks(size_t cache_class, std::span<const BlockId> blocks,
                  std::vector<std::byte>* bytes);

  const Options options_;
  SteadyClock clock_;
  RecordingSink sink_;
  ModelConfig config_;
  std::unique_ptr<kernels::Device> device_;
  kernels::DeviceBuffer arena_memory_;
  std::unique_ptr<SlabArena> arena_;
  std::unique_ptr<KvCacheManager> kv_;
  std::unique_ptr<TransformerRunner> runner_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace quire::testing
