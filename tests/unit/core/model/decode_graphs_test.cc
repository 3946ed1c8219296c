#include "core/model/decode_graphs.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/transformer_runner_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kOptions;
using testing::TransformerRunnerFixture;

constexpr int kDepth = 1;

// A runner whose device records graphs.
class DecodeGraphsTest : public TransformerRunnerFixture {
 protected:
  DecodeGraphsTest() : TransformerRunnerFixture(kDepth) { device_.can_capture = true; }

  std::unique_ptr<TransformerRunner> MakeRunner(
      const TransformerRunnerOptions& options = kOptions) {
    auto runner = Create(options);
    EXPECT_TRUE(runner.ok()) << runner.status();
    return *std::move(runner);
  }
  // Runs one step: 'e' if its work was enqueued, 'c' if a graph of it was recorded and launched,
  // 'g' if a graph was launched.
  char Step(TransformerRunner* runner, const BatchInput& input) {
    device_.log.clear();
    Launch(runner, input);
    EXPECT_TRUE(runner->Complete().ok());
    const auto at = [&](size_t i) { return i < device_.log.size() ? device_.log[i] : ""; };
    EXPECT_THAT(at(0), HasSubstr("BeginStep"));
    EXPECT_THAT(device_.log.back(), HasSubstr("Sample"));
    if (at(1) == "Embed") return 'e';
    if (at(1) == "Launch" && at(2) == "Embed") return 'g';
    if (at(1) == "BeginCapture" && at(2) == "EndCapture" && at(3) == "Launch") return 'c';
    return '?';
  }
  std::string Steps(TransformerRunner* runner, const BatchInput& input, int count) {
    std::string kinds;
    for (int i = 0; i < count; ++i) kinds += Step(runner, input);
    return kinds;
  }
};

TEST_F(DecodeGraphsTest, ASlotsFirstStepIsEnqueuedItsSecondRecordedAndTheOthersLaunched) {
  const auto runner = MakeRunner();
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1}), 8), "eeccgggg");
  EXPECT_EQ(runner->graphs().count, 2);
  EXPECT_EQ(runner->graphs().bytes, 2 * device_.kGraphBytes);
}

TEST_F(DecodeGraphsTest, EveryBucketHasGraphsOfItsOwn) {
  const auto runner = MakeRunner();
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1}), 6), "eeccgg");
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1, 2}), 6), "eeccgg");
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1, 2, 3}), 4), "eecc");
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1, 2, 3, 4}), 2), "gg") << "the bucket of 3";
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1}), 2), "gg");
  EXPECT_EQ(runner->graphs().count, 6);
}

TEST_F(DecodeGraphsTest, StepsWithMoreTokensOfASequenceAreEnqueued) {
  const auto runner = MakeRunner();
  EXPECT_EQ(Steps(runner.get(), Input({1, 2}), 6), "eeeeee");
  EXPECT_EQ(runner->graphs().count, 0);
}

TEST_F(DecodeGraphsTest, NothingIsRecordedWithoutLeaveOrOnADeviceThatCannot) {
  TransformerRunnerOptions options = kOptions;
  options.use_graphs = false;
  EXPECT_EQ(Steps(MakeRunner(options).get(), DecodeInput({1}), 6), "eeeeee");
  device_.can_capture = false;
  EXPECT_EQ(Steps(MakeRunner().get(), DecodeInput({1}), 6), "eeeeee");
}

// The log of a graph is made of what its arguments point to when it is launched.
TEST_F(DecodeGraphsTest, AGraphReadsTheStepAtHand) {
  const auto runner = MakeRunner();
  Steps(runner.get(), DecodeInput({1, 2, 3}), 4);
  EXPECT_EQ(Step(runner.get(), DecodeInput({4, 3, 2, 1}, 7)), 'g');
  EXPECT_THAT(device_.embedded_ids, ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(device_.log, ::testing::Contains("Linear 4x5x4"));
  device_.id_base = 2;
  EXPECT_EQ(Step(runner.get(), DecodeInput({0, 0, 0})), 'g');
  EXPECT_EQ(Step(runner.get(), DecodeInput({-2, -1, 4})), 'g');
  EXPECT_THAT(device_.embedded_ids, ElementsAre(3, 2, 4)) << "fed back by the step before";
}

TEST_F(DecodeGraphsTest, WhereRecordingFailsTheStepAndAllLaterOnesAreEnqueued) {
  const auto runner = MakeRunner();
  Steps(runner.get(), DecodeInput({1}), 2);
  device_.capture_fails = true;
  device_.log.clear();
  Launch(runner.get(), DecodeInput({1}));
  EXPECT_TRUE(runner->Complete().ok());
  EXPECT_EQ(device_.log[1] + " " + device_.log[2] + " " + device_.log[3],
            "BeginCapture EndCapture Embed");
  EXPECT_EQ(runner->graphs().failed, 1);
  device_.capture_fails = false;
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1}), 4), "cege") << "the other slot's is recorded";
  EXPECT_EQ(Steps(runner.get(), DecodeInput({1, 2}), 4), "eecc") << "as are other buckets'";
  EXPECT_EQ(runner->graphs().count, 3);
  EXPECT_EQ(runner->graphs().failed, 1);
}

TEST_F(DecodeGraphsTest, AStepFailsWhereTheDeviceFailsWhileItRecords) {
  const auto runner = MakeRunner();
  Steps(runner.get(), DecodeInput({1}), 2);
  device_.capture_fails = true;
  device_.error = {kernels::DeviceStatus::Code::kDeviceLost, "no graph today"};
  const absl::Status status = runner->LaunchForward(DecodeInput({1}));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no graph today"));
  EXPECT_EQ(runner->graphs().count, 0);
}

}  // namespace
}  // namespace quire
