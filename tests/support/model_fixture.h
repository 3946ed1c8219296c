#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/kv/kv_layout.h"
#include "core/model/transformer_runner.h"
#include "kernels/api/device.h"

namespace quire::testing {

// A model directory on a device of its own, driven step by step without an engine: each sequence
// has a fixed table of KV blocks, scattered over the arena. All KV starts out as NaN.
// Failures to set up abort the test binary with the reason.
class ModelFixture {
 public:
  struct Options {
    std::string model_dir;
    kernels::DType compute = kernels::DType::kF32;
    kernels::WeightFormat weights = kernels::WeightFormat::kDense;
    std::optional<kernels::DType> kv = {};  // default: what is computed in
    int32_t threads = 1;
    int32_t block_tokens = 16;
    int32_t sequences = 1;
    int32_t max_context = 256;  // a multiple of block_tokens
    uint32_t placement = 0;     // seed of the order of blocks in the arena
    bool use_graphs = true;     // where the device has them
    std::function<std::unique_ptr<kernels::Device>()> make_device = {};  // empty: the CPU
  };

  // The next tokens of one sequence.
  struct Chunk {
    int32_t sequence = 0;
    std::vector<TokenId> tokens;
    int32_t feedback_row = -1;  // >= 0: instead, what the step before sampled in this logit row
  };

  explicit ModelFixture(const Options& options);

  // Runs one step and returns the logits of every token in it, [tokens, vocab], in order.
  std::vector<float> Step(const std::vector<Chunk>& chunks);

  // The greedy continuation of `prompt` in sequence 0, `count` tokens chosen on the device. Each is
  // fed to the next step, except for the last.
  std::vector<TokenId> Greedy(const std::vector<TokenId>& prompt, int32_t count);

  // The same for prompt i in sequence i, all in the same steps. As an engine does, it launches as
  // many steps ahead as the device allows, whose tokens come from the device.
  std::vector<std::vector<TokenId>> GreedyTogether(const std::vector<std::vector<TokenId>>& prompts,
                                                   int32_t count);

  // The bytes of the blocks that hold the sequence's tokens, in their logical order.
  std::vector<std::byte> KvBytes(int32_t sequence) const;

  const ModelConfig& config() const { return config_; }
  const TransformerRunner& runner() const { return *runner_; }

 private:
  struct SequenceState {
    std::vector<BlockId> blocks;
    int32_t length = 0;
  };

  void MakeDevice();
  void LoadModel();
  void AllocateKv();
  BatchInput MakeInput(const std::vector<Chunk>& chunks);
  void Launch(const std::vector<Chunk>& chunks);
  int32_t blocks_a_sequence() const { return options_.max_context / options_.block_tokens; }

  const Options options_;
  ModelConfig config_;
  KvLayout layout_;
  std::unique_ptr<kernels::Device> device_;
  kernels::DeviceBuffer arena_;
  std::vector<uint32_t> slab_units_;
  BlockAddressing addressing_;
  std::vector<SequenceState> sequences_;
  std::unique_ptr<TransformerRunner> runner_;
  uint64_t steps_ = 0;
};

}  // namespace quire::testing
