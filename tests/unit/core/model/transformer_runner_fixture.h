#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "core/model/transformer_runner.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/recording_device.h"

namespace quire::testing {

// 2 layers of 2 heads of 2 in 1 group.
inline ModelConfig TinyConfig() {
  ModelConfig c;
  c.vocab_size = 5;
  c.hidden_size = 4;
  c.intermediate_size = 3;
  c.num_layers = 2;
  c.num_heads = 2;
  c.kv_groups = {1, 1};
  c.head_dim = 2;
  c.max_positions = 64;
  c.qkv_bias = true;
  c.o_bias = true;
  return c;
}

inline constexpr TransformerRunnerOptions kOptions = {
    .capacity = {.tokens = 8, .sequences = 4, .table_entries = 6, .logit_rows = 4},
    .max_context = 32};

// A runner on a RecordingDevice.
class TransformerRunnerFixture : public ::testing::Test {
 protected:
  explicit TransformerRunnerFixture(int in_flight_depth) : device_(in_flight_depth) {}

  absl::StatusOr<std::unique_ptr<TransformerRunner>> Create(
      const TransformerRunnerOptions& options = kOptions,
      const ModelConfig& config = TinyConfig()) {
    RandomSource source(1);
    auto weights = LoadWeights(config, &source, &device_, kernels::DType::kBF16, nullptr);
    std::vector<kernels::KvLayerView> layers;
    for (const int32_t groups : config.kv_groups) {
      layers.push_back({.layer_offset = 256 * layers.size(),
                        .block_tokens = 16,
                        .kv_groups = groups,
                        .head_dim = 2});
    }
    return TransformerRunner::Create(&device_, config, *std::move(weights), layers, options);
  }
  // One sequence of these tokens, of which the last is sampled.
  static BatchInput Input(std::vector<int32_t> ids, int32_t position = 0, bool sample = true) {
    BatchInput input;
    const auto count = static_cast<int32_t>(ids.size());
    input.counts = {.tokens = count, .sequences = 1, .logit_rows = sample ? 1 : 0};
    for (int32_t i = 0; i < count; ++i) input.positions.push_back(position + i);
    input.token_ids = std::move(ids);
    input.q_start = {0, count};
    input.kv_len = {position + count};
    input.num_classes = 1;
    input.tables[0].start = {0, 1};
    input.tables[0].offsets = {0};
    if (!sample) return input;
    input.logit_rows = {count - 1};
    input.sampling = {{.temperature = 0.5f, .history_start = 0, .history_count = 2}};
    input.history = {3, 4};
    return input;
  }
  // One token of each of several sequences, all sampled.
  static BatchInput DecodeInput(std::vector<int32_t> ids, int32_t position = 0) {
    BatchInput input;
    const auto count = static_cast<int32_t>(ids.size());
    input.counts = {.tokens = count, .sequences = count, .logit_rows = count};
    input.token_ids = std::move(ids);
    input.q_start = {0};
    input.num_classes = 1;
    input.tables[0].start = {0};
    for (int32_t i = 0; i < count; ++i) {
      input.positions.push_back(position);
      input.q_start.push_back(i + 1);
      input.kv_len.push_back(position + 1);
      input.tables[0].start.push_back(i + 1);
      input.tables[0].offsets.push_back(static_cast<uint32_t>(i));
      input.logit_rows.push_back(i);
      input.sampling.emplace_back();
    }
    return input;
  }
  static void Launch(TransformerRunner* runner, const BatchInput& input) {
    ASSERT_TRUE(runner->LaunchForward(input).ok());
    ASSERT_TRUE(runner->LaunchSample(input).ok());
  }
  static int32_t CompleteOne(TransformerRunner* runner) {
    const auto sampled = runner->Complete();
    EXPECT_TRUE(sampled.ok()) << sampled.status();
    return sampled.ok() && sampled->size() == 1 ? (*sampled)[0].token_id : -100;
  }

  RecordingDevice device_;
};

}  // namespace quire::testing
