#include "core/model/transformer_runner.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/transformer_runner_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kOptions;
using testing::TinyConfig;
using testing::TransformerRunnerFixture;

class TransformerRunnerTest : public TransformerRunnerFixture,
                              public ::testing::WithParamInterface<int> {
 protected:
  TransformerRunnerTest() : TransformerRunnerFixture(GetParam()) {}
};

INSTANTIATE_TEST_SUITE_P(InFlightDepth, TransformerRunnerTest, ::testing::Values(0, 1));

TEST_P(TransformerRunnerTest, RunsTheOperationsOfADecoderInOrder) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  Launch(runner->get(), Input({1, 2, 3}));
  const auto layer = [](const std::string& offset) {
    return std::vector<std::string>{
        "RmsNorm",
        "Linear 3x8x4 +bias",
        "RopeWriteKv at " + offset + " rotating 2",
        "PagedAttention at " + offset + " heads 2 window 0 scale 0.707107 softcap 0",
        "Linear 3x4x4 +bias +=",
        "RmsNorm",
        "Linear 3x6x4",
        "SiluMul 3",
        "Linear 3x4x3 +="};
  };
  std::vector<std::string> expected = {"BeginStep 3", "Embed"};
  for (const char* offset : {"0", "256"}) {
    for (const std::string& op : layer(offset)) expected.push_back(op);
  }
  for (const char* op : {"RmsNorm of logit rows", "Linear 1x5x4", "Sample 1"}) {
    expected.push_back(op);
  }
  EXPECT_EQ(device_.log, expected);
}

// Everything that Gemma adds, on two layers of which one has a window and a rotation of its own.
TEST_P(TransformerRunnerTest, DoesWhatEachFieldOfTheConfigurationAsksFor) {
  ModelConfig config = TinyConfig();
  config.hidden_size = 6;
  config.qkv_bias = false;
  config.o_bias = false;
  config.windows = {8, 0};
  config.window_rope = RopeConfig{.theta = 100};
  config.post_norms = true;
  config.qk_norm = true;
  config.scale_embeddings = true;
  config.gate = kernels::GateKind::kGeluTanh;
  config.attention_scale = 0.25f;
  config.attention_softcap = 50;
  config.logit_softcap = 30;
  auto runner = Create(kOptions, config);
  ASSERT_TRUE(runner.ok()) << runner.status();
  Launch(runner->get(), Input({1}));
  const auto layer = [](const std::string& offset, const std::string& window) {
    return std::vector<std::string>{
        "RmsNorm",
        "Linear 1x8x6",
        "RopeWriteKv at " + offset + " rotating 2 with norms",
        "PagedAttention at " + offset + " heads 2 window " + window + " scale 0.25 softcap 50",
        "Linear 1x6x4",
        "AddRmsNorm",
        "RmsNorm",
        "Linear 1x6x6",
        "GeluTanhMul 3",
        "Linear 1x6x3",
        "AddRmsNorm"};
  };
  // sqrt(6) = 2.44949 in bf16
  std::vector<std::string> expected = {"BeginStep 1", "Embed * 2.45312"};
  for (const std::string& op : layer("0", "8")) expected.push_back(op);
  for (const std::string& op : layer("256", "0")) expected.push_back(op);
  for (const char* op : {"RmsNorm of logit rows", "Linear 1x5x6", "SoftCap 30", "Sample 1"}) {
    expected.push_back(op);
  }
  EXPECT_EQ(device_.log, expected);
  ASSERT_EQ(device_.rope_tables.size(), 2u);
  EXPECT_NE(device_.rope_tables[0], device_.rope_tables[1]);
}

TEST_P(TransformerRunnerTest, GivesEachLayerItsOwnShapeAndLeavesOutBlocksThatItLacks) {
  ModelConfig config = TinyConfig();
  config.num_layers = 3;
  config.num_heads = 4;
  config.layer_heads = {4, 2, 2};
  config.kv_groups = {2, 0, 1};
  config.layer_intermediate_sizes = {3, 1, 0};
  config.layer_rotates = {1, 1, 0};
  config.qkv_bias = false;
  config.o_bias = false;
  auto runner = Create(kOptions, config);
  ASSERT_TRUE(runner.ok()) << runner.status();
  Launch(runner->get(), Input({1}));
  const std::string rest = " window 0 scale 0.707107 softcap 0";
  EXPECT_THAT(device_.log,
              ElementsAre("BeginStep 1", "Embed",  //
                          "RmsNorm", "Linear 1x16x4", "RopeWriteKv at 0 rotating 2",
                          "PagedAttention at 0 heads 4" + rest, "Linear 1x4x8 +=", "RmsNorm",
                          "Linear 1x6x4", "SiluMul 3", "Linear 1x4x3 +=",             //
                          "RmsNorm", "Linear 1x2x4", "SiluMul 1", "Linear 1x4x1 +=",  //
                          "RmsNorm", "Linear 1x8x4", "RopeWriteKv at 512 rotating 0",
                          "PagedAttention at 512 heads 2" + rest,
                          "Linear 1x4x4 +=", "RmsNorm of logit rows", "Linear 1x5x4", "Sample 1"));
}

TEST_P(TransformerRunnerTest, HandsTheSamplerItsRowsAndHistory) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  Launch(runner->get(), Input({1}));
  ASSERT_EQ(device_.sampling.size(), 1u);
  EXPECT_EQ(device_.sampling[0].temperature, 0.5f);
  EXPECT_THAT(device_.history, ElementsAre(3, 4));
}

TEST_P(TransformerRunnerTest, ReturnsTheTokensOfEachStepInLaunchOrder) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  std::vector<int32_t> results;
  std::vector<BatchInput> inputs;
  for (int32_t step = 0; step < 5; ++step) inputs.push_back(Input({step}, step));
  for (int32_t step = 0; step < 5; ++step) {
    device_.id_base = 100 + step;
    Launch(runner->get(), inputs[static_cast<size_t>(step)]);
    if (step >= GetParam()) results.push_back(CompleteOne(runner->get()));
  }
  for (int i = 0; i < GetParam(); ++i) results.push_back(CompleteOne(runner->get()));
  EXPECT_THAT(results, ElementsAre(100, 101, 102, 103, 104));
}

TEST_P(TransformerRunnerTest, KeepsResultsUntilTheNextCompleteWhateverIsLaunched) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  const BatchInput input = Input({1});
  device_.id_base = 7;
  Launch(runner->get(), input);
  const auto first = (*runner)->Complete();
  ASSERT_TRUE(first.ok());
  device_.id_base = 8;
  for (int i = 0; i <= GetParam(); ++i) Launch(runner->get(), input);
  EXPECT_EQ((*first)[0].token_id, 7);
}

TEST_P(TransformerRunnerTest, FeedsATokenOfTheStepBeforeBackOnTheDevice) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  std::vector<BatchInput> inputs = {Input({1}), Input({-1}, 1), Input({-1}, 2)};
  for (int32_t step = 0; step < 3; ++step) {
    device_.id_base = 40 + step;
    Launch(runner->get(), inputs[static_cast<size_t>(step)]);
    if (step > 0) {
      EXPECT_THAT(device_.embedded_ids, ElementsAre(40 + step - 1));
    }
    if (step >= GetParam()) CompleteOne(runner->get());
  }
}

// To the device: the batch, the tables of its class, the sampling rows with what they point into.
// Back: the sampled tokens.
TEST_P(TransformerRunnerTest, CopiesAStepInFourPiecesAndThroughMemoryOfTheDevice) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  device_.host_copies.clear();
  Launch(runner->get(), Input({1, 2, 3}));
  CompleteOne(runner->get());
  EXPECT_EQ(device_.host_copies.size(), 4u);
  for (const void* host : device_.host_copies) EXPECT_TRUE(device_.IsHostBuffer(host));
}

TEST_P(TransformerRunnerTest, LaunchesAStepWithTheCapacityOfItsBucket) {
  auto runner =
      Create({.capacity = {.tokens = 200, .sequences = 6, .table_entries = 6, .logit_rows = 5},
              .max_context = 32});
  ASSERT_TRUE(runner.ok()) << runner.status();
  for (const BatchInput& input : {Input({1}), Input({1, 2}), DecodeInput({1, 2, 3})}) {
    Launch(runner->get(), input);
    ASSERT_TRUE((*runner)->Complete().ok());
  }
  const auto tokens = [](const kernels::BatchCapacity& capacity) { return capacity.tokens; };
  ASSERT_EQ(device_.capacities.size(), 3u);
  EXPECT_EQ(tokens(device_.capacities[0]), 1);
  EXPECT_EQ(tokens(device_.capacities[1]), 64);
  EXPECT_EQ(tokens(device_.capacities[2]), 4);
}

TEST_P(TransformerRunnerTest, CompletesAStepWithoutLogitRows) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  Launch(runner->get(), Input({1, 2}, 0, /*sample=*/false));
  const auto sampled = (*runner)->Complete();
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  EXPECT_TRUE(sampled->empty());
  EXPECT_EQ(device_.log.back(), "Linear 0x5x4");
}

TEST_P(TransformerRunnerTest, ReportsADeviceFailureAsUnavailable) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  const BatchInput input = Input({1});
  Launch(runner->get(), input);
  device_.error = kernels::DeviceStatus(kernels::DeviceStatus::Code::kDeviceLost, "it fell over");
  const auto sampled = (*runner)->Complete();
  EXPECT_TRUE(absl::IsUnavailable(sampled.status()));
  EXPECT_THAT(std::string(sampled.status().message()), HasSubstr("it fell over"));
}

TEST_P(TransformerRunnerTest, AllocatesNothingAfterItsCreationAndAccountsForAllOfIt) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  const size_t allocated = device_.allocated_bytes;
  // The recording device keeps packed matrices outside its memory, so that norms and biases are
  // all that the weights have there: per layer two norms of 4, 8 and 4 biases; a last norm of 4.
  const int64_t vectors = (2 * (2 * 4 + 8 + 4) + 4) * 4;
  EXPECT_EQ((*runner)->memory().workspace + vectors, static_cast<int64_t>(allocated));
  const BatchInput input = Input({1, 2, 3, 4, 5, 6, 7, 8});
  Launch(runner->get(), input);
  CompleteOne(runner->get());
  EXPECT_EQ(device_.allocated_bytes, allocated);
  EXPECT_EQ(device_.host_buffers.size(), static_cast<size_t>(GetParam()) + 1);
  runner->reset();
  EXPECT_EQ(device_.allocated_bytes, 0u);
  EXPECT_TRUE(device_.host_buffers.empty());
}

TEST_P(TransformerRunnerTest, RefusesOptionsOutOfRange) {
  for (int field = 0; field < 6; ++field) {
    TransformerRunnerOptions options = kOptions;
    if (field == 0) options.capacity.tokens = 0;
    if (field == 1) options.capacity.sequences = 0;
    if (field == 2) options.capacity.table_entries = 0;
    if (field == 3) options.capacity.logit_rows = 0;
    if (field == 4) options.max_context = 0;
    if (field == 5) options.max_context = 65;
    EXPECT_TRUE(absl::IsInvalidArgument(Create(options).status())) << field;
  }
}

TEST_P(TransformerRunnerTest, SaysThatItsMemoryDoesNotFit) {
  device_.memory_limit = 1000;
  EXPECT_TRUE(absl::IsResourceExhausted(Create().status()));
}

TEST_P(TransformerRunnerTest, DiesOnAStepBeyondItsCapacity) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_DEATH((void)(*runner)->LaunchForward(Input(std::vector<int32_t>(9, 1))), "check failed");
  EXPECT_DEATH((void)(*runner)->LaunchForward(Input({1}, 32)), "a sequence of 33 tokens");
  BatchInput many_blocks = Input({1});
  many_blocks.tables[0].offsets.resize(7);
  EXPECT_DEATH((void)(*runner)->LaunchForward(many_blocks), "entries in a place for 6");
}

TEST_P(TransformerRunnerTest, DiesOnArraysThatDoNotMatchTheCounts) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  for (int field = 0; field < 6; ++field) {
    BatchInput input = Input({1});
    if (field == 0) input.token_ids.push_back(1);
    if (field == 1) input.positions.clear();
    if (field == 2) input.q_start.pop_back();
    if (field == 3) input.kv_len.push_back(1);
    if (field == 4) input.tables[0].start.clear();
    if (field == 5) input.logit_rows.clear();
    EXPECT_DEATH((void)(*runner)->LaunchForward(input), "check failed") << field;
  }
}

TEST_P(TransformerRunnerTest, DiesWhenStepsAreLaunchedOutOfTurn) {
  auto runner = Create();
  ASSERT_TRUE(runner.ok()) << runner.status();
  const BatchInput input = Input({1});
  EXPECT_DEATH((void)(*runner)->LaunchSample(input), "sampling goes with");
  EXPECT_DEATH((void)(*runner)->Complete(), "no step is in flight");
  for (int i = 0; i <= GetParam(); ++i) Launch(runner->get(), input);
  EXPECT_DEATH((void)(*runner)->LaunchForward(input), "too many steps in flight");
}

}  // namespace
}  // namespace quire
