#include "core/engine/model_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

using ::testing::HasSubstr;

// Before any weight is read, and so before anything is delivered.
TEST(ModelEngineTest, TheCpuRefusesKvThatItCannotStore) {
  const std::pair<kernels::DType, const char*> cases[] = {
      {kernels::DType::kF8E4M3, "no KV cache in fp8_e4m3; use --kv-dtype int8 or auto"},
      {kernels::DType::kF16, "a KV cache in f16 needs a model that computes in it"}};
  for (const auto& [kv_dtype, reason] : cases) {
    ModelEngineOptions options;
    options.model_dir = QUIRE_SOURCE_DIR "/deploy/models/quire-demo";
    options.device = "cpu";
    options.threads = 1;
    options.kv_dtype = kv_dtype;
    const SteadyClock clock;
    const auto engine = ModelEngine::Create(options, /*sink=*/nullptr, &clock);
    EXPECT_EQ(engine.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(engine.status().message()), HasSubstr(reason));
  }
}

TEST(ModelEngineTest, TheCpuHasNothingToSwapTo) {
  ModelEngineOptions options;
  options.model_dir = QUIRE_SOURCE_DIR "/deploy/models/quire-demo";
  options.device = "cpu";
  options.threads = 1;
  options.kv_memory_bytes = 8 << 20;
  options.swap_memory_bytes = 1 << 20;
  const SteadyClock clock;
  const auto engine = ModelEngine::Create(options, /*sink=*/nullptr, &clock);
  EXPECT_EQ(engine.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("see --swap-memory"));
}

}  // namespace
}  // namespace quire
