#include "server/cli/bench_load.h"

#include <gtest/gtest.h>

#include <memory>

// Built twice: with the CPU's device and with an emulated GPU in its place.

namespace quire::cli {
namespace {

ModelConfig Small() {
  ModelConfig config = *NamedModelShape("llama-3.2-1b");
  config.num_layers = 2;
  config.kv_groups = {2, 2};
  config.hidden_size = 64;
  config.intermediate_size = 64;
  config.num_heads = 4;
  config.head_dim = 32;
  config.vocab_size = 128;
  return config;
}

constexpr LoadOptions kLoad = {
    .users = 4, .requests = 7, .prompt = 30, .output = 3, .max_step_tokens = 16, .kv_bytes = 0};
constexpr int64_t kBlockBytes = int64_t{16} * 2 * 2 * 2 * 32 * 2;  // 16 tokens, 2 layers, BF16

absl::StatusOr<LoadResult> Measure(LoadOptions load) {
  BenchModelOptions options;
  options.device = "auto";
  options.threads = 1;
  options.kv_limit_bytes = int64_t{1} << 30;
  auto model = BenchModel::Create(options, Small(), LoadSizes(load, kBlockBytes), nullptr);
  EXPECT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(static_cast<int64_t>((*model)->layout().BlockBytes()), kBlockBytes);
  return MeasureLoad(model->get(), load);
}

TEST(BenchLoadTest, WhoDoesNotFitTheCacheWaits) {
  LoadOptions load = kLoad;
  for (const int32_t fit : {1, 3, 8}) {
    load.kv_bytes = 2 * fit * kBlockBytes;  // 32 tokens of KV each
    const absl::StatusOr<LoadResult> result = Measure(load);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->most_running, std::min(fit, load.users));
    EXPECT_EQ(result->first_token.count, load.requests);
    EXPECT_GT(result->first_token.p50, 0);
    EXPECT_GT(result->tokens_per_second, 0);
  }
}

TEST(BenchLoadTest, ARequestThatNeverFitsIsAnError) {
  LoadOptions load = kLoad;
  load.kv_bytes = kBlockBytes;
  EXPECT_EQ(Measure(load).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quire::cli
