#include "server/cli/bench_step_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire::cli {
namespace {

using ::testing::HasSubstr;

ModelConfig Small() {
  ModelConfig config = *NamedModelShape("llama-3.2-1b");
  config.num_layers = 3;
  config.kv_groups = {4, 4, 4};
  config.hidden_size = 64;
  config.intermediate_size = 128;
  config.num_heads = 4;
  config.head_dim = 16;
  config.vocab_size = 128;
  return config;
}

BenchModelOptions OneThread() {
  BenchModelOptions options;
  options.threads = 1;
  return options;
}

// How near to the truth it is, benchmarks tell.
TEST(DecodeStepPredictorTest, LayersCountOneByOneAndWindowsBoundTheirContext) {
  ModelConfig config = Small();
  auto predictor = DecodeStepPredictor::Create(config, OneThread(), 4096);
  ASSERT_TRUE(predictor.ok()) << predictor.status();
  const double most = *predictor->Seconds({4, 4, 4}, 2, 4096);
  const double fewest = *predictor->Seconds({1, 1, 1}, 2, 4096);
  EXPECT_GT(fewest, 0);
  EXPECT_NEAR(*predictor->Seconds({4, 1, 1}, 2, 4096), most / 3 + fewest * 2 / 3, 1e-12)
      << "nothing is measured twice";
  EXPECT_LE(*predictor->Seconds({4, 4, 4}, 2, 100), most);

  config.windows = {100, 100, 100};
  auto windowed = DecodeStepPredictor::Create(config, OneThread(), 4096);
  ASSERT_TRUE(windowed.ok()) << windowed.status();
  EXPECT_EQ(*windowed->Seconds({4, 4, 4}, 2, 4096), *windowed->Seconds({4, 4, 4}, 2, 100));
}

TEST(DecodeStepPredictorTest, RefusesWhatAFewLayersDoNotTell) {
  ModelConfig config = Small();
  config.kv_groups[1] = 0;
  EXPECT_EQ(DecodeStepPredictor::Create(config, OneThread(), 64).status().code(),
            absl::StatusCode::kUnimplemented);
  config = Small();
  config.layer_intermediate_sizes = {128, 64, 128};
  EXPECT_EQ(DecodeStepPredictor::Create(config, OneThread(), 64).status().code(),
            absl::StatusCode::kUnimplemented);
  config = Small();
  config.max_positions = 1024;
  EXPECT_THAT(
      std::string(DecodeStepPredictor::Create(config, OneThread(), 1025).status().message()),
      HasSubstr("choose 1 to 1024"));
}

}  // namespace
}  // namespace quire::cli
